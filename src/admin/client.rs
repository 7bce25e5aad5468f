//! Asking a running server, from the command line.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, AUTHORIZATION, HOST};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;

use super::holder::holders;
use super::socket::read_token;
use super::{Form, Question, api, token_file};
use crate::config;

/// A way to a running server.
pub struct Client {
    admin: config::Admin,
    state_dir: PathBuf,
    /// What is wrong with the file that says where to ask.
    doubt: Option<String>,
}

/// The answer, and the connection that it came on.
struct Answered {
    text: String,
    sender: SendRequest<Empty<Bytes>>,
    connection: JoinHandle<Result<(), hyper::Error>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The configuration says that nobody is to be asked.
    #[error(
        "server.admin is \"off\": the server cannot be asked; signals work (SIGHUP reloads, SIGTERM stops)"
    )]
    Off,
    /// Nobody listens.
    #[error("no server answers at {0}: is it running, and with this bindings file?")]
    NotRunning(config::Admin),
    /// The file says no.
    #[error("{0} may not be used: ask as root, as the server's user, or as a member of its group")]
    Forbidden(config::Admin),
    /// The token cannot be read.
    #[error("{} cannot be read: {source}", file.display())]
    Token {
        /// Its file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody else listens there.
    #[error(
        "uid {user} listens at {address}, and {} belongs to uid {owner}: the token is not sent to who is not the server; see who it is with ss -ltnp",
        file.display()
    )]
    Stranger {
        /// Where it was to be sent.
        address: SocketAddr,
        /// Who listens.
        user: u32,
        /// Whose the token is.
        owner: u32,
        /// The token's file.
        file: PathBuf,
    },
    /// Nobody could be asked where a bindings file with errors seems to say.
    #[error(
        "{error} (the bindings file has errors, the first of them: {doubt}; --admin unix:/path.sock asks elsewhere)"
    )]
    Doubtful {
        /// Why not.
        error: Box<ClientError>,
        /// The file's first error.
        doubt: String,
    },
    /// The server says no.
    #[error("{0}")]
    Declined(String),
    /// The connection broke, or what came back is none of ours.
    #[error("{0} does not answer as a server of this version does: {1}")]
    Broken(config::Admin, String),
}

impl Client {
    /// To the server that a configuration is of.
    pub fn new(server: &config::Server) -> Self {
        Self {
            admin: server.admin.clone(),
            state_dir: server.state_dir.clone(),
            doubt: None,
        }
    }

    /// To whoever answers at a unix socket.
    pub fn at(path: PathBuf) -> Self {
        Self {
            admin: config::Admin::Unix(path),
            state_dir: PathBuf::new(),
            doubt: None,
        }
    }

    /// The same, where the file that says where to ask has this error, and may have said something else.
    pub fn despite(self, doubt: Option<String>) -> Self {
        Self { doubt, ..self }
    }

    /// Where it asks.
    pub fn admin(&self) -> &config::Admin {
        &self.admin
    }

    /// Asks, for the answer as a person reads it or as JSON, as it is.
    pub fn ask(&self, question: Question, form: Form) -> Result<String, ClientError> {
        self.block_on(async { Ok(self.answered(question, form).await?.text) })
    }

    /// Asks, and then waits until the server is gone.
    pub fn ask_until_gone(&self, question: Question) -> Result<String, ClientError> {
        self.block_on(async {
            let answered = self.answered(question, Form::Text).await?;
            // The connection ends when the server does, and how it ended says nothing more. Without its sender it would end
            // by itself.
            let _ = answered.connection.await;
            drop(answered.sender);
            Ok(answered.text)
        })
    }

    fn block_on(
        &self,
        asked: impl Future<Output = Result<String, ClientError>>,
    ) -> Result<String, ClientError> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| self.broken(&error))?
            .block_on(asked)
    }

    async fn answered(&self, question: Question, form: Form) -> Result<Answered, ClientError> {
        tokio::time::timeout(ANSWER_WAIT, self.connect_and_ask(question, form))
            .await
            .map_err(|_| self.broken(&"it took longer than a minute"))?
            .map_err(|error| self.doubted(error))
    }

    /// Where nobody is found, the file's error may be why.
    fn doubted(&self, error: ClientError) -> ClientError {
        match (&self.doubt, error) {
            (Some(doubt), error @ (ClientError::NotRunning(_) | ClientError::Token { .. })) => {
                ClientError::Doubtful {
                    error: Box::new(error),
                    doubt: doubt.clone(),
                }
            }
            (_, error) => error,
        }
    }

    async fn connect_and_ask(
        &self,
        question: Question,
        form: Form,
    ) -> Result<Answered, ClientError> {
        match &self.admin {
            config::Admin::Off => Err(ClientError::Off),
            config::Admin::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                let stream = stream.map_err(|error| self.unreached(&error))?;
                self.exchange(stream, (question, form), None).await
            }
            config::Admin::Loopback(address) => {
                let token = read_token(&self.state_dir).map_err(|source| ClientError::Token {
                    file: token_file(&self.state_dir),
                    source,
                })?;
                let stream = TcpStream::connect(address).await;
                let stream = stream.map_err(|error| self.unreached(&error))?;
                self.is_no_stranger(*address)?;
                let at = Some((*address, token.as_str()));
                self.exchange(stream, (question, form), at).await
            }
        }
    }

    /// Who listens is root, or whose the token is.
    fn is_no_stranger(&self, address: SocketAddr) -> Result<(), ClientError> {
        let file = token_file(&self.state_dir);
        let owner = std::fs::metadata(&file).map_or(0, |found| found.uid());
        let mut strangers = holders(address)
            .into_iter()
            .filter(|user| ![0, owner].contains(user));
        match strangers.next() {
            None => Ok(()),
            Some(user) => Err(ClientError::Stranger {
                address,
                user,
                owner,
                file,
            }),
        }
    }

    async fn exchange<S>(
        &self,
        stream: S,
        asked: (Question, Form),
        at: Option<(SocketAddr, &str)>,
    ) -> Result<Answered, ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let broken = |error: hyper::Error| self.broken(&error);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        let connection = tokio::spawn(connection);
        let request = request(asked, at).map_err(|error| self.broken(&error))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let content = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let content = content.collect().await;
        let content = content.map_err(|error| self.broken(&error))?;
        let text =
            String::from_utf8(content.to_bytes().into()).map_err(|error| self.broken(&error))?;
        if status.is_success() {
            return Ok(Answered {
                text,
                sender,
                connection,
            });
        }
        let value: Value = serde_json::from_str(&text).map_err(|error| self.broken(&error))?;
        let why = value["error"].as_str().unwrap_or(status.as_str());
        Err(ClientError::Declined(why.to_owned()))
    }

    fn unreached(&self, error: &io::Error) -> ClientError {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NotRunning(self.admin.clone())
            }
            io::ErrorKind::PermissionDenied => ClientError::Forbidden(self.admin.clone()),
            _ => self.broken(error),
        }
    }

    fn broken(&self, error: &dyn ToString) -> ClientError {
        ClientError::Broken(self.admin.clone(), error.to_string())
    }
}

/// `at` is the address and its token; none for a unix socket.
fn request(
    (question, form): (Question, Form),
    at: Option<(SocketAddr, &str)>,
) -> Result<Request<Empty<Bytes>>, http::Error> {
    let (method, path) = api::path(&question);
    let mut request = Request::builder().method(method).uri(path);
    if form == Form::Text {
        request = request.header(ACCEPT, api::TEXT);
    }
    let request = match at {
        Some((address, token)) => request
            .header(HOST, address.to_string())
            .header(AUTHORIZATION, format!("Bearer {token}")),
        None => request.header(HOST, "localhost"),
    };
    request.body(Empty::new())
}

/// A reload of 10,000 bindings takes seconds.
const ANSWER_WAIT: Duration = Duration::from_secs(60);
/// 10,000 certificates have 10 MB.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
