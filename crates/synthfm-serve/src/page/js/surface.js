// The structures as surfaces in 3-D, on demand: seen from the front at first, turned by dragging or with the arrows.

import { bytes } from "./api.js";
import { rgb } from "./masks.js";
import { byId } from "./panels.js";
import { t } from "./texts.js";

const VERTEX = `#version 300 es
in vec3 place;
in vec3 normal;
uniform mat4 screenFromPatient;
uniform mat3 viewFromPatient;
out vec3 facing;
void main() {
  facing = viewFromPatient * normal;
  gl_Position = screenFromPatient * vec4(place, 1.0);
}`;

const FRAGMENT = `#version 300 es
precision mediump float;
in vec3 facing;
uniform vec3 colour;
out vec4 shown;
void main() {
  float light = abs(normalize(facing).z);
  shown = vec4(colour * (0.25 + 0.75 * light), 1.0);
}`;

/** Radians per pixel of a drag, and per press of an arrow. */
const TURN_PX = 0.01;
const TURN_KEY = 0.15;

export class SurfaceView {
  constructor(app) {
    this.app = app;
    this.dialog = byId("surface");
    this.canvas = byId("surface-canvas");
    this.meshes = [];
    this.connect();
  }

  connect() {
    const { canvas, dialog } = this;
    canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
    canvas.addEventListener("pointermove", (event) => {
      if (canvas.hasPointerCapture(event.pointerId)) this.turn(event.movementX * TURN_PX, event.movementY * TURN_PX);
    });
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        this.zoom = Math.max(0.3, Math.min(8, this.zoom * Math.exp(-event.deltaY / 600)));
        this.paint();
      },
      { passive: false },
    );
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      this.turn(step[0] * TURN_KEY, step[1] * TURN_KEY);
    });
    dialog.addEventListener("close", () => this.forget());
  }

  /** Fetches the surfaces of all structures that are shown and have voxels. */
  async open() {
    const { study } = this.app;
    if (!study || study.details.picture) return;
    const text = byId("surface-text");
    Object.assign(this, { across: 0, down: 0, zoom: 1 });
    text.textContent = t("surface.loading");
    this.dialog.showModal();
    this.canvas.focus();
    try {
      await study.queue;
      this.gl ??= this.prepare();
      const shown = study.structures.filter(({ id, voxels }) => voxels > 0 && !study.hidden.has(id));
      for (const { id, colour } of shown) {
        const data = await bytes(`/api/cases/${study.id}/surface?structure=${id}`);
        if (!this.dialog.open) return;
        this.meshes.push(this.mesh(data, colour));
      }
      text.textContent = t(shown.length ? "surface.hint" : "surface.none");
      this.paint();
    } catch (error) {
      text.textContent = error.message;
    }
  }

  /** Leaves nothing in the graphics memory. */
  forget() {
    for (const { array, buffers } of this.meshes) {
      this.gl.deleteVertexArray(array);
      for (const buffer of buffers) this.gl.deleteBuffer(buffer);
    }
    this.meshes = [];
  }

  prepare() {
    const gl = this.canvas.getContext("webgl2", { antialias: true });
    if (!gl) throw new Error(t("surface.webgl"));
    const program = gl.createProgram();
    for (const [kind, source] of [
      [gl.VERTEX_SHADER, VERTEX],
      [gl.FRAGMENT_SHADER, FRAGMENT],
    ]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    gl.useProgram(program);
    gl.enable(gl.DEPTH_TEST);
    this.program = program;
    return gl;
  }

  /** A surface in the graphics memory: see the server's `surface` for the bytes. */
  mesh(data, colour) {
    const { gl, program } = this;
    const [count, triangles] = new Uint32Array(data, 0, 2);
    const points = new Float32Array(data, 8, 3 * count);
    const indices = new Uint32Array(data, 8 + 12 * count, 3 * triangles);
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    const buffers = [points, normals(points, indices)].map((values, n) => {
      const buffer = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
      const place = gl.getAttribLocation(program, n === 0 ? "place" : "normal");
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, 3, gl.FLOAT, false, 0, 0);
      return buffer;
    });
    const buffer = gl.createBuffer();
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, indices, gl.STATIC_DRAW);
    return { array, buffers: [...buffers, buffer], count: indices.length, points, colour: rgb(colour).map((v) => v / 255) };
  }

  turn(across, down) {
    this.across += across;
    this.down = Math.max(-1.5, Math.min(1.5, this.down + down));
    this.paint();
  }

  paint() {
    const { gl, canvas, program, meshes } = this;
    if (!gl) return;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.round(side * devicePixelRatio));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    if (!meshes.length) return;
    const { middle, radius } = ball(meshes);
    const view = viewFromPatient(this.across, this.down);
    const scale = (0.92 * this.zoom) / radius;
    const least = Math.min(width, height);
    const scales = [(scale * least) / width, (scale * least) / height, -0.4 / radius / Math.max(1, this.zoom)];
    gl.uniformMatrix4fv(gl.getUniformLocation(program, "screenFromPatient"), false, projection(view, scales, middle));
    gl.uniformMatrix3fv(gl.getUniformLocation(program, "viewFromPatient"), false, columns(view));
    for (const { array, count, colour } of meshes) {
      gl.bindVertexArray(array);
      gl.uniform3fv(gl.getUniformLocation(program, "colour"), colour);
      gl.drawElements(gl.TRIANGLES, count, gl.UNSIGNED_INT, 0);
    }
  }
}

/** The sum of the triangles' normals at each point. */
function normals(points, indices) {
  const sums = new Float32Array(points.length);
  for (let n = 0; n < indices.length; n += 3) {
    const [a, b, c] = [3 * indices[n], 3 * indices[n + 1], 3 * indices[n + 2]];
    const [ux, uy, uz] = [0, 1, 2].map((axis) => points[b + axis] - points[a + axis]);
    const [vx, vy, vz] = [0, 1, 2].map((axis) => points[c + axis] - points[a + axis]);
    const normal = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
    for (const corner of [a, b, c]) for (let axis = 0; axis < 3; axis += 1) sums[corner + axis] += normal[axis];
  }
  return sums;
}

/** A ball around all surfaces. */
function ball(meshes) {
  const [low, high] = [
    [Infinity, Infinity, Infinity],
    [-Infinity, -Infinity, -Infinity],
  ];
  for (const { points } of meshes)
    for (let n = 0; n < points.length; n += 1) {
      low[n % 3] = Math.min(low[n % 3], points[n]);
      high[n % 3] = Math.max(high[n % 3], points[n]);
    }
  const middle = low.map((v, axis) => (v + high[axis]) / 2);
  return { middle, radius: Math.max(Math.hypot(...low.map((v, axis) => high[axis] - v)) / 2, 1e-3) };
}

/** Rows of the turn from the patient (left, back, head) to the view (right, up, towards the eye), from the front at first. */
function viewFromPatient(across, down) {
  const [ca, sa, cd, sd] = [Math.cos(across), Math.sin(across), Math.cos(down), Math.sin(down)];
  // From the front the patient's left is on the right, and the eye looks backwards.
  const front = [
    [1, 0, 0],
    [0, 0, 1],
    [0, -1, 0],
  ];
  const turned = [
    [ca, 0, sa],
    [sa * sd, cd, -ca * sd],
    [-sa * cd, sd, ca * cd],
  ];
  return turned.map((row) => [0, 1, 2].map((axis) => row.reduce((sum, v, n) => sum + v * front[n][axis], 0)));
}

function columns(rows) {
  return [0, 1, 2].flatMap((column) => rows.map((row) => row[column]));
}

/** By columns: a parallel projection of the turned patient, its middle in the middle. */
function projection(view, scales, middle) {
  const rows = view.map((row, n) => row.map((v) => v * scales[n]));
  const offset = rows.map((row) => -row.reduce((sum, v, axis) => sum + v * middle[axis], 0));
  const full = [...rows.map((row, n) => [...row, offset[n]]), [0, 0, 0, 1]];
  return [0, 1, 2, 3].flatMap((column) => full.map((row) => row[column]));
}
