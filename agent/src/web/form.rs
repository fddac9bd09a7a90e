//! What a form sends.

use axum::{http::StatusCode, response::Response};
use serde::Deserialize;

use super::{guard::Visitor, pages::trouble};

/// A form of one of our own pages.
#[derive(Deserialize)]
pub(super) struct Sent<T> {
    token: String,
    #[serde(flatten)]
    fields: T,
}

impl<T> Sent<T> {
    /// What it holds, if it was made for that browser.
    pub(super) fn by(self, visitor: &Visitor) -> Result<T, Box<Response>> {
        if self.token == visitor.token() {
            return Ok(self.fields);
        }
        Err(Box::new(trouble::page(StatusCode::FORBIDDEN, "This form is of another login; load the page again.")))
    }
}
