//! The lines to the outside, as Asterisk's own settings name them.
//!
//! What registers with somebody, or logs in there, is a line; what has a fixed address is one too, unless it is on this machine.

use super::{
    Machine, asterisk,
    conf::{Block, Conf},
};

/// A line that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedTrunk {
    /// As `pbx.trunks` has it.
    pub name: String,
    /// The file that names it.
    pub file: String,
}

/// Finds the lines in one kind of file.
type Reader = fn(&Conf) -> Vec<String>;

/// The lines, in the order of the files.
pub fn trunks(machine: &Machine) -> Vec<NamedTrunk> {
    let etc = asterisk::settings_directory(machine);
    let mut found: Vec<NamedTrunk> = Vec::new();
    let readers: [(&str, Reader); 3] = [("pjsip.conf", pjsip), ("sip.conf", peers), ("iax.conf", peers)];
    for (name, read) in readers {
        let file = format!("{etc}/{name}");
        for name in Conf::read(machine, &file).map(|conf| read(&conf)).unwrap_or_default() {
            if found.iter().all(|other| other.name != name) {
                found.push(NamedTrunk { name, file: file.clone() });
            }
        }
    }
    found
}

/// Endpoints that log in somewhere, or that are known by the address they call from.
fn pjsip(conf: &Conf) -> Vec<String> {
    let blocks = conf.blocks();
    let of = |kind: &str| -> Vec<&Block<'_>> {
        blocks.iter().filter(|block| !block.is_template && block.value("type", &blocks) == Some(kind)).collect()
    };
    let (registrations, identities) = (of("registration"), of("identify"));
    let is_line = |endpoint: &&&Block<'_>| {
        let names_it = |block: &&Block<'_>| block.value("endpoint", &blocks) == Some(endpoint.name);
        endpoint.value("outbound_auth", &blocks).is_some()
            || registrations.iter().any(|block| block.name == endpoint.name || names_it(block))
            || identities.iter().any(names_it)
    };
    of("endpoint").iter().filter(is_line).map(|endpoint| endpoint.name.to_owned()).collect()
}

/// Peers of `chan_sip` and `chan_iax2` with an address of their own: a telephone's is `dynamic`.
fn peers(conf: &Conf) -> Vec<String> {
    let blocks = conf.blocks();
    let is_line = |block: &&Block<'_>| {
        let host = block.value("host", &blocks).unwrap_or("dynamic");
        let kind = block.value("type", &blocks);
        !block.is_template
            && !matches!(block.name, "general" | "authentication")
            && matches!(kind, Some("peer" | "friend"))
            && !matches!(host, "dynamic" | "127.0.0.1" | "localhost")
    };
    blocks.iter().filter(is_line).map(|block| block.name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc/asterisk")).unwrap();
        for (name, text) in files {
            fs::write(root.path().join("etc/asterisk").join(name), text).unwrap();
        }
        trunks(&Machine::new(root.path(), 0)).into_iter().map(|trunk| trunk.name).collect()
    }

    #[test]
    fn what_logs_in_somewhere_is_a_line_and_a_telephone_is_none() {
        let text = "[transport]\ntype=transport\n[phone](!)\ntype=endpoint\n[1001](phone)\nauth=1001\n[1001]\ntype=auth\n\
                    [provider1]\ntype=endpoint\noutbound_auth=provider1\n[provider1]\ntype=auth\n\
                    [provider2]\ntype=endpoint\n[reg2]\ntype=registration\nendpoint=provider2\n\
                    [carrier]\ntype=endpoint\n[carrier-id]\ntype=identify\nendpoint=carrier\nmatch=192.0.2.1\n";
        assert_eq!(found(&[("pjsip.conf", text)]), ["provider1", "provider2", "carrier"]);
    }

    #[test]
    fn templates_and_included_files_are_followed() {
        let main =
            "#include pjsip.endpoint.conf\n[line](!)\ntype=endpoint\noutbound_auth=shared\n[one](line)\ncontext=in\n";
        let endpoints = "[two]\ntype=endpoint\noutbound_auth=two\n[1002]\ntype=endpoint\nauth=1002\n";
        assert_eq!(found(&[("pjsip.conf", main), ("pjsip.endpoint.conf", endpoints)]), ["two", "one"]);
    }

    #[test]
    fn peers_of_old_drivers_with_an_address_are_lines() {
        let text = "[general]\nhost=192.0.2.9\n[provider1]\ntype=peer\nhost=sip.example.com\n[1001]\ntype=friend\nhost=dynamic\n\
                    [gone](!)\ntype=peer\nhost=192.0.2.1\n";
        assert_eq!(found(&[("sip.conf", text), ("iax.conf", text)]), ["provider1"]);
        assert!(found(&[]).is_empty());
    }
}
