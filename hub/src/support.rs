//! Support sessions, as far as the hub has a part in them: it shows which grants it was told of, and passes on bytes
//! that it cannot read. Whether anybody gets in is decided at the site.

mod grants;
mod reach;
mod relay;
mod socket;
mod words;

pub(crate) use self::grants::verify;
pub use self::{
    grants::{Announced, Forged, Grants, SKEW},
    reach::{NotOpened, Reach},
    socket::Socket,
    words::{Answer, Ask, Said, path_in, short},
};
