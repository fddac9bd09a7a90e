//! Landlock: from grants to a ruleset in force.

use std::os::fd::BorrowedFd;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};

use super::{Access, Profile};

/// Puts the grants in force for this thread and those it starts later.
pub(super) fn enforce(profile: &Profile, version: u32) -> Result<(), RulesetError> {
    prepare(profile, version)?.restrict_self()?;
    Ok(())
}

/// The grants as a ruleset that is not in force yet. Everything that this version of Landlock can restrict is restricted;
/// a kernel that does less than the probe saw is an error.
pub(super) fn prepare(profile: &Profile, version: u32) -> Result<RulesetCreated, RulesetError> {
    let abi = ABI::from(i32::try_from(version).unwrap_or(i32::MAX));
    let mut ruleset =
        Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(AccessFs::from_all(abi))?;
    if version >= 4 {
        ruleset = ruleset.handle_access(AccessNet::BindTcp)?;
        if profile.ports.is_some() {
            ruleset = ruleset.handle_access(AccessNet::ConnectTcp)?;
        }
    }
    if version >= 6 {
        ruleset = ruleset.scope(Scope::from_all(abi))?;
    }
    let mut ruleset = ruleset.create()?;
    for grant in &profile.grants {
        // What is not there cannot be granted; whoever needs it says so when it opens it.
        let Ok(handle) = PathFd::new(&grant.path) else { continue };
        let mut rights = rights(grant.access) & AccessFs::from_all(abi);
        if !grant.path.is_dir() {
            rights &= AccessFs::from_file(abi);
        }
        if !rights.is_empty() {
            ruleset = ruleset.add_rule(PathBeneath::new(handle, rights))?;
        }
    }
    if version >= 4 {
        for port in profile.ports.iter().flatten() {
            ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
        }
    }
    Ok(ruleset)
}

/// Adds one rule for a file that is open.
pub(super) fn add(
    ruleset: RulesetCreated,
    file: BorrowedFd<'_>,
    access: Access,
    version: u32,
) -> Result<RulesetCreated, RulesetError> {
    let abi = ABI::from(i32::try_from(version).unwrap_or(i32::MAX));
    ruleset.add_rule(PathBeneath::new(file, rights(access) & AccessFs::from_file(abi)))
}

fn rights(access: Access) -> BitFlags<AccessFs> {
    match access {
        Access::List => AccessFs::ReadDir.into(),
        Access::Prune => AccessFs::ReadDir | AccessFs::RemoveFile,
        Access::Read => AccessFs::ReadFile | AccessFs::ReadDir,
        Access::Own => {
            AccessFs::ReadFile
                | AccessFs::ReadDir
                | AccessFs::WriteFile
                | AccessFs::MakeReg
                | AccessFs::RemoveFile
                | AccessFs::Truncate
        }
        Access::Scratch => {
            rights(Access::Own)
                | AccessFs::MakeDir
                | AccessFs::RemoveDir
                | AccessFs::MakeSym
                | AccessFs::MakeFifo
                | AccessFs::Refer
        }
        Access::Programs => AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute,
        Access::Terminal => AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::ReadDir | AccessFs::IoctlDev,
        Access::Execute => AccessFs::ReadFile | AccessFs::Execute,
        Access::Device => AccessFs::ReadFile | AccessFs::WriteFile,
        Access::Remove => AccessFs::RemoveFile.into(),
        Access::Connect => AccessFs::ResolveUnix.into(),
        Access::Cgroups => AccessFs::WriteFile | AccessFs::MakeDir | AccessFs::RemoveDir,
        Access::RemoveDirectories => AccessFs::RemoveDir.into(),
    }
}
