//! Waits until a source may have changed.
use std::path::PathBuf;
/// Stand-in.
pub struct Watch;
impl Watch {
    /// Watches.
    pub fn new(_paths: &[PathBuf]) -> Self { Self }
    /// Waits.
    pub async fn changed(&mut self) { tokio::time::sleep(std::time::Duration::from_millis(200)).await }
}
