//! MCP servers with one tool, which counts as far as it is told to.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{ProgressNotificationParam, RequestMetaObject};
use rmcp::transport::streamable_http_server::session::SessionManager;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{Peer, RoleServer, schemars, tool, tool_router};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::sessions::Sessions;
use crate::harness::{Process, python};

/// Which SDK's server, and whether it keeps events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Python,
    PythonWithStore,
    /// As in `examples/mcp_server`.
    Rmcp,
    /// As it is by default.
    RmcpWithIds,
}

pub(crate) struct Server {
    url: String,
    program: Program,
}

enum Program {
    Process(Box<Process>),
    Here(Arc<Control>),
}

struct Control {
    steps: Semaphore,
    calls: AtomicUsize,
}

impl Server {
    pub(crate) async fn start(kind: Kind) -> Self {
        match kind {
            Kind::Python => Self::python(&[]).await,
            Kind::PythonWithStore => Self::python(&["store"]).await,
            Kind::Rmcp => {
                let config = StreamableHttpServerConfig::default().with_sse_retry(None);
                Self::rmcp(Sessions::default(), config).await
            }
            Kind::RmcpWithIds => {
                let config = StreamableHttpServerConfig::default();
                Self::rmcp(LocalSessionManager::default(), config).await
            }
        }
    }

    async fn python(arguments: &[&str]) -> Self {
        let mut process = python("mcp_server.py", arguments);
        let port = &process.report("listening").await["port"];
        Self {
            url: format!("http://127.0.0.1:{port}"),
            program: Program::Process(Box::new(process)),
        }
    }

    async fn rmcp(sessions: impl SessionManager, config: StreamableHttpServerConfig) -> Self {
        let control = Arc::new(Control {
            steps: Semaphore::new(0),
            calls: AtomicUsize::new(0),
        });
        let counter = Counter(Arc::clone(&control));
        let new = move || Ok(counter.clone());
        let service = StreamableHttpService::new(new, Arc::new(sessions), config);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().route_service("/mcp", service);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self {
            url,
            program: Program::Here(control),
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Lets the tool go one step further: report progress, at last answer.
    pub(crate) async fn step(&mut self) {
        match &mut self.program {
            Program::Process(process) => process.write_line("step").await,
            Program::Here(control) => control.steps.add_permits(1),
        }
    }

    /// How often the tool was called.
    pub(crate) async fn calls(&mut self) -> usize {
        match &mut self.program {
            Program::Process(process) => {
                process.write_line("calls").await;
                let count = &process.report("calls").await["count"];
                usize::try_from(count.as_u64().unwrap()).unwrap()
            }
            Program::Here(control) => control.calls.load(Ordering::Relaxed),
        }
    }

    /// What the process has to say.
    pub(crate) fn process(&mut self) -> &mut Process {
        match &mut self.program {
            Program::Process(process) => process,
            Program::Here(_) => panic!("it is no process"),
        }
    }
}

#[derive(Clone)]
struct Counter(Arc<Control>);

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Count {
    steps: u32,
}

#[tool_router(server_handler)]
impl Counter {
    #[tool(description = "Counts")]
    async fn count(
        &self,
        Parameters(Count { steps }): Parameters<Count>,
        meta: RequestMetaObject,
        client: Peer<RoleServer>,
    ) -> String {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        let token = meta.get_progress_token().unwrap();
        for n in 1..=steps {
            self.0.steps.acquire().await.unwrap().forget();
            let progress = ProgressNotificationParam::new(token.clone(), n.into());
            // Nobody may be listening.
            let _ = client.notify_progress(progress).await;
        }
        self.0.steps.acquire().await.unwrap().forget();
        format!("counted to {steps}")
    }
}
