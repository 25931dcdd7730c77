//! A cable between the services and Postgres that can be cut.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Passes everything on between its own address and a server's; whole again when mended.
#[derive(Debug)]
pub struct Cable {
    near: SocketAddr,
    far: SocketAddr,
    work: JoinHandle<()>,
}

impl Cable {
    /// Lays one to a server.
    pub async fn lay(far: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let near = listener.local_addr()?;
        Ok(Self { near, far, work: tokio::spawn(pass(listener, far)) })
    }

    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.near
    }

    /// Every connection is lost, and no new one is taken.
    pub async fn cut(&mut self) {
        self.work.abort();
        // Ends as cancelled, which is what was wanted.
        let _ = (&mut self.work).await;
    }

    /// Connections are taken again, at the same address.
    pub async fn mend(&mut self) -> Result<()> {
        let listener = TcpListener::bind(self.near).await.context("taking the address again")?;
        self.work = tokio::spawn(pass(listener, self.far));
        Ok(())
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.work.abort();
    }
}

/// The connections end with this task, because the set is dropped with it.
async fn pass(listener: TcpListener, far: SocketAddr) {
    let mut connections = JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        connections.spawn(async move {
            let mut far = TcpStream::connect(far).await?;
            copy_bidirectional(&mut near, &mut far).await
        });
        // What has ended is forgotten, or the set would grow.
        while connections.try_join_next().is_some() {}
    }
}
