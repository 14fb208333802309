//! Which project is meant, and what its machine is to be: the configuration seen from where the user stands.
//!
//! Enters: the context and perhaps a name. Leaves: a project, a goal, a site. Starts no machine.

mod git;
mod goal;
mod register;
mod remote;
mod select;
mod session;

pub use goal::{build_goal, complete_goal};
pub use register::{add_include, first_project, project_from_url};
pub use select::{Workspace, completion_names, completion_profiles, find_record, locate_from, site};
pub use session::{open_session, reach};
