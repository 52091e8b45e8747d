//! The HTTP client of the exporter: the one everything else uses, on the runtime everything else runs on.
//!
//! The exporter has a thread of its own, which is no thread of the runtime; so the call runs in a task, and the thread waits
//! for that.

use std::pin::Pin;
use std::time::Duration;

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::runtime::Handle;

/// A receiver that takes longer is away; the exporter tries again.
const SEND_WITHIN: Duration = Duration::from_secs(5);

/// Sends on the runtime it was made on.
#[derive(Debug)]
pub struct Client {
    client: reqwest::Client,
    runtime: Handle,
}

impl Client {
    /// A client on the runtime of the caller.
    pub fn new() -> reqwest::Result<Self> {
        let builder = reqwest::Client::builder().timeout(SEND_WITHIN).redirect(reqwest::redirect::Policy::none());
        Ok(Self { client: builder.build()?, runtime: Handle::current() })
    }
}

async fn send(client: reqwest::Client, request: reqwest::Request) -> Result<Response<Bytes>, HttpError> {
    let answer = client.execute(request).await?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut response = Response::new(answer.bytes().await?);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

impl HttpClient for Client {
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let request = reqwest::Request::try_from(request)?;
            self.runtime.spawn(send(self.client.clone(), request)).await?
        })
    }
}
