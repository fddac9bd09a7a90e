//! The password of pages that can be reached from the network: kept as a hash (Argon2id, RFC 9106), never as itself.

use argon2::{Argon2, PasswordHasher, PasswordVerifier, password_hash::phc::PasswordHash};

/// The least number of characters.
pub const SHORTEST: usize = 12;

/// The hash of a password, as the config file holds it.
///
/// # Errors
/// When it is too short, in words.
pub fn hash(password: &str) -> Result<String, String> {
    if password.chars().count() < SHORTEST {
        return Err(format!("the password needs {SHORTEST} characters or more"));
    }
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|error| error.to_string())
}

/// Whether the text is such a hash.
pub fn is_hash(text: &str) -> bool {
    PasswordHash::new(text).is_ok_and(|hash| hash.algorithm.as_str() == "argon2id")
}

/// Whether the password is the one behind the hash. It takes some time and memory on purpose.
pub fn is_right(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_fits_its_hash() {
        assert!(hash("too short").is_err());
        let known = hash("correct horse battery").unwrap();
        assert!(is_hash(&known) && !known.contains("horse"));
        assert_ne!(known, hash("correct horse battery").unwrap());
        assert!(is_right("correct horse battery", &known));
        assert!(!is_right("correct horse batterz", &known));
        assert!(!is_right("correct horse battery", "plain"));
        assert!(!is_hash("correct horse battery"));
    }
}
