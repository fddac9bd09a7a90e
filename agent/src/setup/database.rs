//! A user of our own in FreePBX's database, who may read call records and nothing else.

use anyhow::Context;
use data_encoding::BASE32_NOPAD;

use crate::{
    pbx::freepbx_db::{self, user},
    settings::{Secret, Source},
};

/// Random bytes in a password.
const RANDOM: usize = 20;

/// The user that a source is going to log in as.
pub struct NewUser {
    settings: freepbx_db::Settings,
    password: String,
}

impl NewUser {
    /// The user for the first of these sources that needs one and has none; the source gets its password.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn for_one_of(sources: &mut [Source]) -> anyhow::Result<Option<Self>> {
        for source in sources {
            let Source::FreepbxDb { password, .. } = &mut *source else { continue };
            if password.is_some() {
                continue;
            }
            let made = random_password()?;
            *password = Some(Secret::new(made.clone()));
            let settings = freepbx_db::Settings::of(source);
            return Ok(settings.map(|settings| Self { settings, password: made }));
        }
        Ok(None)
    }

    /// What MariaDB's root has to say, with the password or, where it is not to be shown, with `…` in its place.
    pub fn statements(&self, show: bool) -> Vec<String> {
        user::statements(&self.settings, if show { &self.password } else { "…" })
    }

    /// Says it as MariaDB's root, who is let in by the socket alone.
    ///
    /// # Errors
    /// In words, when that is not so or not possible; the statements can then be said by hand.
    pub fn create(&self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let made = runtime.block_on(user::create(&self.settings, &self.password));
        runtime.shutdown_background();
        made.context("the database user could not be made")
    }
}

/// Letters and digits alone, so that it stands between quotes everywhere.
fn random_password() -> anyhow::Result<String> {
    let mut bits = [0; RANDOM];
    aws_lc_rs::rand::fill(&mut bits).map_err(|_| anyhow::anyhow!("the system's random numbers are not to be had"))?;
    Ok(BASE32_NOPAD.encode(&bits).to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_and_the_statements_have_the_same_password() {
        let text = "type = \"freepbx-db\"\nuser = \"demarc\"\n";
        let mut sources = vec![toml::from_str::<Source>(text).unwrap()];
        let user = NewUser::for_one_of(&mut sources).unwrap().unwrap();
        let Source::FreepbxDb { password: Some(password), .. } = &sources[0] else { panic!("no password") };
        assert!(password.expose().len() == 32 && password.expose().bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert!(user.statements(true)[0].contains(password.expose()));
        assert!(!user.statements(false).concat().contains(password.expose()));
        assert!(NewUser::for_one_of(&mut sources).unwrap().is_none(), "a user that there is stays");
    }
}
