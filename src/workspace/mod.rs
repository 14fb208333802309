//! Which project is meant, and what its machine is to be: the configuration seen from where the user stands.
//!
//! Enters: the context and perhaps a name. Leaves: a project, a goal, a site. Starts no machine.

mod boundary;
mod boxes;
mod checks;
mod doors;
mod ending;
mod export;
mod git;
mod goal;
mod hold;
mod keys;
mod lend;
mod overview;
mod ports;
mod putback;
mod raise;
mod register;
mod remote;
mod rest;
mod secrets;
mod select;
mod session;
mod trust;
mod unsaved;
mod watch;

pub use boundary::observe_boundary;
pub use boxes::{box_table, find_box, prune_boxes};
pub use checks::{Checked, run_checks};
pub use ending::{Ending, agree_to_end_sessions};
pub use export::build_export;
pub use git::usable_origin;
pub use goal::complete_goal;
pub use hold::{check_hold, serve_hold, start_hold};
pub use keys::{KeyHop, Verdict, check_git_host, find_key, key_hops};
pub use overview::{Overview, overview_of, overviews};
pub use ports::{PortRow, agree_to_ports, close_opened, declare_ports, look_at_ports, open_ports};
pub use raise::{Raised, goal_of, not_begun, raise};
pub use register::{add_include, first_project, project_from_url};
pub use rest::shut_down;
pub use secrets::{check_token, count_secrets, refill, refill_session, secrets_file, secrets_of};
pub use select::{
    Workspace, completion_names, completion_profiles, find_record, find_records, locate_from, site,
};
pub use session::{open_session, reach, reach_running};
pub use trust::{questions_at, quoted, require_trust, require_trust_of, revoke, trust_own};
pub use unsaved::{Answers, agree_to_lose, delete};
pub use watch::watch;
