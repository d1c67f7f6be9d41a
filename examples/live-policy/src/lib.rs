//! The policy behind `/live/*` of the demo, there to be edited: change `GREETING`, build, and reload the page. The demo
//! shows the build command, notices the new component, and swaps it in; no connection is dropped.

use portcullis_sdk::prelude::*;

/// Try another text here.
const GREETING: &str = "hello from version 1";

/// Answers `/live/hello` itself and marks every answer that passes.
#[derive(Debug, Default)]
pub struct Live;

#[policy(name = "live", description = "The policy to edit while the demo runs.")]
impl Live {
    /// Sees each request before it goes to an upstream, and may answer in its place.
    fn on_request_head(&self, request: &mut Request, exchange: &Exchange) -> Decision {
        if request.path() == "/live/hello" {
            let address = exchange.client_address();
            return Decision::Reply(Reply::new(200).text(format!("{GREETING}, {address}\n")));
        }
        Decision::Next
    }

    /// Sees each answer before it goes to the client.
    fn on_response_head(&self, response: &mut Response) -> Result<(), Stop> {
        response.set_header("x-live", GREETING)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
