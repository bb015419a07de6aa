//! Has the service give a new value for a secret, as the manifest says.

use serde_json::Value;

use super::auth::TOKEN_BYTES;
use super::{Connector, Failure};
use crate::domain::manifest::Rotate;
use crate::error::{Exit, UserError};
use crate::secrets::Secret;

impl Connector<'_> {
    /// Makes the call that gives a new value for a secret, and returns the value. It is not tried again: each call may make
    /// another one. The answer is shown nowhere.
    pub(crate) fn rotate(&self, rotate: &Rotate) -> Result<Secret, Failure> {
        let values = self.values(None);
        let mut request = self.request_post(&rotate.post, &rotate.headers, rotate.json.as_ref(), &values)?;
        request.limit = TOKEN_BYTES;
        let shown = request.shown();
        let response = self.call(&[], &values, request, false)?;
        let answer = crate::domain::json::document_of(&response.body).unwrap_or_default();
        match rotate.value.find(&answer) {
            Some(Value::String(text)) if !text.is_empty() => Ok(Secret::from(text.clone())),
            _ => {
                let message = format!("the answer of {shown} has no text at `{}`", rotate.value);
                Err(Failure::Stream(UserError::new(Exit::Unavailable, "no_new_value", message)))
            }
        }
    }
}
