//! How requests prove who sends them, as a manifest says it.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::super::duration::Length;
use super::super::names::Name;
use super::super::path::Path;
use super::super::slot::{JsonTemplate, Template};
use super::Ordered;

/// How requests prove who sends them.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Auth {
    #[default]
    None,
    Bearer(Template),
    Basic(Basic),
    Header(Ordered<Template>),
    Query(Ordered<Template>),
    Oauth(Box<Oauth>),
    Login(Box<Login>),
    /// All of these at once.
    All(Vec<Auth>),
    /// The one that a setting names.
    Choose(Choose),
}

impl Auth {
    /// Returns the names of the query parameters that may prove who sends a request.
    pub(crate) fn query_names(&self) -> Vec<&str> {
        match self {
            Auth::Query(pairs) => pairs.iter().map(|(name, _)| name.as_str()).collect(),
            Auth::Login(login) => login.carry.query_names(),
            Auth::All(all) => all.iter().flat_map(Auth::query_names).collect(),
            Auth::Choose(choose) => choose.of.iter().flat_map(|(_, auth)| auth.query_names()).collect(),
            Auth::None | Auth::Bearer(_) | Auth::Basic(_) | Auth::Header(_) | Auth::Oauth(_) => Vec::new(),
        }
    }

    /// Returns the way of authentication in words.
    pub(crate) fn words(&self) -> String {
        match self {
            Auth::None => "none".to_owned(),
            Auth::Bearer(_) => "bearer token".to_owned(),
            Auth::Basic(_) => "user and password".to_owned(),
            Auth::Header(pairs) => {
                let names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
                format!("header {}", names.join(", "))
            }
            Auth::Query(_) => "query parameter".to_owned(),
            Auth::Oauth(oauth) => match oauth.grant {
                Grant::ClientCredentials => "OAuth client credentials".to_owned(),
                Grant::RefreshToken => "OAuth refresh token".to_owned(),
                Grant::JwtBearer => "OAuth JWT bearer".to_owned(),
            },
            Auth::Login(_) => "login".to_owned(),
            Auth::All(all) => all.iter().map(Auth::words).collect::<Vec<_>>().join(" + "),
            Auth::Choose(choose) => choose.of.iter().map(|(_, auth)| auth.words()).collect::<Vec<_>>().join(" or "),
        }
    }
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Basic {
    pub(crate) user: Template,
    pub(crate) pass: Template,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Choose {
    /// The `enum` setting whose value picks.
    pub(crate) setting: Name,
    pub(crate) of: Ordered<Auth>,
}

/// An OAuth 2.0 token request (RFC 6749; JWT bearer: RFC 7523). Its token goes in `Authorization: Bearer`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Oauth {
    pub(crate) grant: Grant,
    pub(crate) token_url: Template,
    pub(crate) client_id: Option<Template>,
    pub(crate) client_secret: Option<Template>,
    #[serde(default)]
    pub(crate) client_in: ClientIn,
    pub(crate) scopes: Option<Template>,
    /// The secret that holds the refresh token, and that a rotated one replaces.
    pub(crate) refresh_token: Option<Name>,
    pub(crate) jwt: Option<Jwt>,
    /// Further form fields.
    #[serde(default)]
    pub(crate) extra: Ordered<Template>,
    #[serde(default)]
    pub(crate) headers: Ordered<Template>,
    /// How long a token lives where the answer has no `expires_in`.
    #[serde(default = "default_token_ttl")]
    pub(crate) ttl: Length,
}

fn default_token_ttl() -> Length {
    Length(3_600)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Grant {
    ClientCredentials,
    RefreshToken,
    JwtBearer,
}

/// Where the client's id and secret stand in a token request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClientIn {
    #[default]
    Body,
    Basic,
}

/// The claims of an assertion signed with RS256.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Jwt {
    pub(crate) issuer: Template,
    pub(crate) subject: Template,
    pub(crate) audience: Template,
    /// The secret that holds the private key in PEM.
    pub(crate) key: Name,
    #[serde(default = "default_jwt_ttl")]
    pub(crate) ttl: Length,
}

fn default_jwt_ttl() -> Length {
    Length(180)
}

/// A login call whose answer is a session token.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Login {
    pub(crate) post: Template,
    #[serde(default)]
    pub(crate) headers: Ordered<Template>,
    pub(crate) json: Option<JsonTemplate>,
    pub(crate) token: TokenAt,
    pub(crate) ttl: Length,
    /// How later calls carry the token.
    #[serde(rename = "use")]
    pub(crate) carry: Box<Auth>,
}

/// A call by which the service gives a new value for a secret. It is made once, with the secrets in force.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotate {
    pub(crate) post: Template,
    #[serde(default)]
    pub(crate) headers: Ordered<Template>,
    pub(crate) json: Option<JsonTemplate>,
    /// Where the new value is in the JSON answer.
    pub(crate) value: Path,
}

/// Where a login's token is: the whole body as text, or a path in a JSON body.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TokenAt {
    Text,
    Path(Path),
}

impl<'de> Deserialize<'de> for TokenAt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "text" => Ok(TokenAt::Text),
            path => path.parse().map(TokenAt::Path).map_err(serde::de::Error::custom),
        }
    }
}
