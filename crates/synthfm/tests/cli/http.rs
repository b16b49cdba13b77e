//! A server under test and the smallest client that can talk to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::common::{command, interrupt};

/// A running `synthfm serve`; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    pub(crate) url: String,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// Checks the status.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{text}");
        self
    }

    /// Checks the status and the words of an error.
    #[track_caller]
    pub(crate) fn fails(self, status: u16, code: &str, part: &str) {
        let body = self.is(status).json();
        assert_eq!(body["code"], code, "{body}");
        assert!(body["error"].as_str().unwrap().contains(part), "{body}");
    }
}

impl Server {
    /// Starts on a free port.
    pub(crate) fn start(folder: &Path, args: &[&str]) -> Self {
        let args = [&["serve", "--json", "--quiet", "--port=0"], args].concat();
        let mut child = command(folder, &args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            said.push_str(&line);
            if line == "}" {
                break;
            }
        }
        let said: Value = serde_json::from_str(&said).expect("the server says where it is");
        let address = said["address"].as_str().unwrap();
        let port = address.trim_end_matches('/').rsplit(':').next().unwrap();
        Self {
            child,
            port: port.parse().unwrap(),
            url: said["url"].as_str().unwrap().to_owned(),
        }
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What Ctrl-C leads to.
    pub(crate) fn stop(mut self) -> Option<i32> {
        interrupt(&self.child);
        self.child.wait().unwrap().code()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_mins(2)))
            .unwrap();
        stream
    }

    /// Sends bytes as they are.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Reply {
        let mut stream = self.connect();
        // The server may have answered and closed before all is sent.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let end = answer
            .windows(4)
            .position(|w| w == b"\r\n\r\n")
            .map_or(answer.len(), |at| at + 4);
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
        let body = answer.split_off(end);
        Reply {
            status: status.unwrap_or(0),
            body: if head.to_lowercase().contains("transfer-encoding: chunked") {
                unchunked(&body)
            } else {
                body
            },
            head,
        }
    }

    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let named = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"));
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.port,
            body.len()
        );
        let named: String = named.collect();
        let bytes = [request.as_bytes(), named.as_bytes(), b"\r\n", body].concat();
        self.raw(&bytes)
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"")
    }

    /// A session that works on the case whose name contains `name`; its description.
    pub(crate) fn open(&self, name: &str) -> (Client<'_>, Value) {
        let client = self.client();
        let list = self.get("/api/cases").is(200).json();
        let cases = list["cases"].as_array().unwrap().clone();
        let case = cases
            .iter()
            .find(|case| case["name"].as_str().unwrap().contains(name));
        let id = case.unwrap()["id"].as_str().unwrap().to_owned();
        let client = Client { case: id, ..client };
        let case = client.post("open", "{}").is(200).json();
        (client, case)
    }

    pub(crate) fn client(&self) -> Client<'_> {
        let session = self.send("POST", "/api/sessions", &[], b"").is(200).json();
        Client {
            server: self,
            session: session["session"].as_str().unwrap().to_owned(),
            case: String::new(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A session with a case.
pub(crate) struct Client<'a> {
    pub(crate) server: &'a Server,
    pub(crate) session: String,
    pub(crate) case: String,
}

impl Client<'_> {
    pub(crate) fn send(&self, method: &str, what: &str, body: &str) -> Reply {
        let path = format!("/api/cases/{}/{what}", self.case);
        let headers = [
            ("X-Session", self.session.as_str()),
            ("Content-Type", "application/json"),
        ];
        self.server.send(method, &path, &headers, body.as_bytes())
    }

    pub(crate) fn post(&self, what: &str, body: &str) -> Reply {
        self.send("POST", what, body)
    }

    pub(crate) fn get(&self, what: &str) -> Reply {
        self.send("GET", what, "")
    }

    /// Uploads to an address.
    pub(crate) fn put(&self, path: &str, bytes: &[u8]) -> Reply {
        let headers = [("X-Session", self.session.as_str())];
        self.server.send("PUT", path, &headers, bytes)
    }
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|w| w == b"\r\n") {
        let size = String::from_utf8_lossy(&body[..end]);
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        let start = end + 2;
        if size == 0 || start + size > body.len() {
            break;
        }
        whole.extend_from_slice(&body[start..start + size]);
        body = &body[(start + size + 2).min(body.len())..];
    }
    whole
}
