//! A lab's control plane: started, filled, and its controller ended and started again as a test wants.
//!
//! What it is made of is in [`super::cluster`]; what an operator makes of it in [`super::kubelet`].

use super::Lab;
use super::cluster::Cluster;
use super::record::Process;
use crate::tools;
use anyhow::{Context, Result};
use std::path::PathBuf;

impl Lab {
    /// Starts the control plane if there is to be one. The folder in which the service proxy finds its objects.
    pub(super) fn start_cluster(&mut self) -> Result<PathBuf> {
        let (Some(binaries), Some(control)) = (&self.options.cluster, &self.topology.control)
        else {
            return Ok(self.manifests());
        };
        let mut cluster = Cluster::start(binaries, control, &self.folder())?;
        let started = match self.options.is_operated {
            true => Ok(()),
            false => self.fill(&mut cluster),
        };
        // Also after a failure: what was started is in the record, and goes with the lab.
        let processes = cluster.processes();
        self.cluster = Some(cluster);
        self.note_all(processes?)?;
        started?;
        if self.options.is_operated {
            self.operate()?;
        }
        self.bring_in()
    }

    pub(super) fn note_all(&mut self, processes: Vec<Process>) -> Result<()> {
        self.note(|record| {
            let known = &mut record.processes;
            known.extend(
                processes
                    .into_iter()
                    .filter(|one| !known.contains(one))
                    .collect::<Vec<_>>(),
            );
        })
    }

    /// Installs by manifests.
    fn fill(&self, cluster: &mut Cluster) -> Result<()> {
        for folder in ["deploy/crds", "deploy/manifests"] {
            cluster.apply(&tools::root().join(folder))?;
        }
        cluster.start_controller(&self.options.controller)
    }

    /// Applies the lab's manifests. The folder of what is there then.
    fn bring_in(&mut self) -> Result<PathBuf> {
        let manifests = self.manifests();
        let cluster = self.cluster.as_mut().context(NO_CLUSTER)?;
        cluster.apply(&manifests)?;
        for node in &self.topology.nodes {
            cluster.locate(&node.name, node.number)?;
        }
        cluster.mirror()
    }

    /// The command that works as kubectl, if the lab is a cluster.
    pub fn kubectl(&self) -> Option<PathBuf> {
        self.cluster.as_ref().map(Cluster::kubectl)
    }

    /// Ends the cluster's controller at once, as a crash would.
    ///
    /// # Errors
    /// When the lab is no cluster, or no controller runs.
    pub fn kill_controller(&mut self) -> Result<()> {
        let cluster = self.cluster.as_mut().context(NO_CLUSTER)?;
        cluster.kill_controller()
    }

    /// Starts the cluster's controller again, and waits until it is ready.
    ///
    /// # Errors
    /// When the lab is no cluster, or the controller does not become ready.
    pub fn start_controller(&mut self) -> Result<()> {
        let cluster = self.cluster.as_mut().context(NO_CLUSTER)?;
        cluster.start_controller(&self.options.controller)?;
        let processes = cluster.processes()?;
        self.note_all(processes)
    }
}

/// Said where somebody asks for what only a cluster has.
pub(super) const NO_CLUSTER: &str = "the lab is no cluster";
