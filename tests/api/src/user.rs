//! Who sends a request: static tokens, and the users and groups behind them.

use crate::rbac::User;
use std::collections::BTreeMap;

impl User {
    /// Whoever shows no token.
    pub(crate) fn anonymous() -> Self {
        Self {
            name: "system:anonymous".to_owned(),
            groups: vec!["system:unauthenticated".to_owned()],
            extra: BTreeMap::new(),
        }
    }

    /// Whether every request is allowed, whatever the roles say.
    pub(crate) fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == MASTERS)
    }
}

/// Tokens and whom they are of.
#[derive(Clone, Debug, Default)]
pub struct Users {
    tokens: BTreeMap<String, User>,
}

impl Users {
    /// With an administrator `admin` whose token is the same word.
    pub fn new() -> Self {
        let mut users = Self::default();
        users.add("admin", "admin", &[MASTERS]);
        users
    }

    /// Adds a token; service accounts are put into their groups, and everybody into `system:authenticated`.
    pub fn add(&mut self, token: &str, name: &str, groups: &[&str]) {
        let mut all: Vec<String> = groups.iter().map(|&group| group.to_owned()).collect();
        let account = name.strip_prefix("system:serviceaccount:");
        if let Some((namespace, _)) = account.and_then(|account| account.split_once(':')) {
            all.push("system:serviceaccounts".to_owned());
            all.push(format!("system:serviceaccounts:{namespace}"));
        }
        all.push("system:authenticated".to_owned());
        all.dedup();
        let user = User {
            name: name.to_owned(),
            groups: all,
            extra: BTreeMap::new(),
        };
        self.tokens.insert(token.to_owned(), user);
    }

    /// A token that is there is of a pod on this node, as those that kubelets ask for are.
    pub fn bind(&mut self, token: &str, node: &str) {
        let user = self.tokens.get_mut(token);
        let user = user.expect("a token is added before it is bound");
        user.extra.insert(NODE.to_owned(), vec![node.to_owned()]);
    }

    /// Takes a token away.
    pub(crate) fn remove(&mut self, token: &str) {
        self.tokens.remove(token);
    }

    /// Reads lines of `token,user,group,group`; empty ones and those that begin with `#` do not count.
    /// Fails with the line's number if a name is missing.
    pub fn read(&mut self, text: &str) -> Result<(), String> {
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.split(',').map(|word| word.trim_matches([' ', '"']));
            let (Some(token), Some(name)) = (words.next(), words.next()) else {
                return Err(format!("line {number}: expected token,user,groups"));
            };
            self.add(token, name, &words.collect::<Vec<_>>());
        }
        Ok(())
    }

    /// Whom a token is of.
    pub(crate) fn user(&self, token: &str) -> Option<&User> {
        self.tokens.get(token)
    }

    /// A token of a user, found by name.
    pub fn token(&self, name: &str) -> Option<&str> {
        let found = self.tokens.iter().find(|(_, user)| user.name == name);
        found.map(|(token, _)| token.as_str())
    }
}

/// As the server calls what a token says of its pod's node.
const NODE: &str = "authentication.kubernetes.io/node-name";
/// Members of this group may do everything.
const MASTERS: &str = "system:masters";
