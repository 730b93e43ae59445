//! The entry of the store: one request in, an answer, a watch or a question out.

use crate::answer::{Answer, Refusal};
use crate::call::{Call, Question, Reply, Stop};
use crate::rbac::User;
use crate::route::{Request, Route, Target, route};
use crate::store::Store;
use crate::watch::Watch;
use crate::{access, body, discovery, read, review, write};
use std::cell::{Cell, RefCell};
use std::sync::Arc;

/// What a request leads to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The end.
    Answer(Answer),
    /// Events, for as long as the client stays.
    Watch(Box<Watch>),
    /// A webhook is to be asked; then the request is to be begun again with the reply.
    Ask(Box<Question>),
}

/// Carries a request out. `identity` is a uid drawn for it with [`Store::identity`]; `replies` is what webhooks said so far.
pub(crate) fn serve(
    store: &mut Store,
    request: &Request,
    identity: &str,
    replies: &[(Question, Reply)],
) -> Outcome {
    match carry_out(store, request, identity, replies) {
        Ok(outcome) => outcome,
        Err(Stop::Refused(refusal)) => Outcome::Answer(refusal.answer()),
        Err(Stop::Ask(question)) => Outcome::Ask(question),
    }
}

fn carry_out(
    store: &mut Store,
    request: &Request,
    identity: &str,
    replies: &[(Question, Reply)],
) -> Result<Outcome, Stop> {
    let user = match &request.token {
        None => User::anonymous(),
        Some(token) => {
            let user = store.users.user(token).cloned();
            user.ok_or_else(Refusal::unauthorized)?
        }
    };
    let route = route(&request.path);
    access::check(store, &user, request, &route)?;
    let answer = match route {
        Route::Version => discovery::version(),
        Route::Health => Answer::text("ok"),
        Route::Core => discovery::core(),
        Route::Groups => discovery::groups(store),
        Route::Group(name) => discovery::group(store, &name)?,
        Route::Contents(group, version) => discovery::resources(store, &group, &version)?,
        Route::Unknown => return Err(Refusal::no_path().into()),
        Route::Target(target) => {
            if request.method == "POST"
                && let Some(answer) =
                    review::review(store, &user, &target.group, &target.plural, &request.body)
            {
                return Ok(Outcome::Answer(answer?));
            }
            return at(store, request, identity, replies, user, target);
        }
    };
    Ok(Outcome::Answer(answer))
}

fn at(
    store: &mut Store,
    request: &Request,
    identity: &str,
    replies: &[(Question, Reply)],
    user: User,
    target: Target,
) -> Result<Outcome, Stop> {
    let kind = find(store, &target)?;
    let is_bad_sub = match target.subresource.as_str() {
        "" => false,
        "status" => !kind
            .version(&target.version)
            .is_some_and(|version| version.has_status),
        _other => true,
    };
    if is_bad_sub {
        let is_custom = kind.is_custom();
        let refusal = match target.subresource.as_str() {
            "scale" if is_custom => Refusal::not_found(&target.about()),
            _other if is_custom => Refusal::no_path(),
            _other => Refusal::no_resource(),
        };
        return Err(refusal.into());
    }
    let call = Call {
        request,
        target,
        kind,
        user,
        identity,
        replies,
        warnings: RefCell::default(),
        asked: Cell::default(),
    };
    if let Some(text) = &call.version().deprecation {
        call.warn(text.clone());
    }
    let result = act(store, &call);
    let warnings = call.warnings.take();
    match result {
        Ok(Outcome::Answer(answer)) => Ok(Outcome::Answer(Answer { warnings, ..answer })),
        Ok(outcome) => Ok(outcome),
        Err(Stop::Refused(refusal)) => {
            let answer = refusal.answer();
            Ok(Outcome::Answer(Answer { warnings, ..answer }))
        }
        Err(ask) => Err(ask),
    }
}

fn find(store: &Store, target: &Target) -> Result<Arc<crate::kinds::Kind>, Refusal> {
    let mut group = store.kinds.all().filter(|kind| kind.group == target.group);
    let is_core_group = group.any(|kind| !kind.is_custom());
    let found = store.kinds.find(&target.group, &target.plural);
    let found = found.filter(|kind| kind.version(&target.version).is_some());
    // A namespaced kind is listed across namespaces, but one object or a new one needs a namespace.
    let fits = found.filter(|kind| kind.is_namespaced || target.namespace.is_empty());
    let fits = fits.filter(|kind| {
        !kind.is_namespaced || !target.namespace.is_empty() || target.name.is_empty()
    });
    match fits {
        Some(kind) => Ok(Arc::clone(kind)),
        None if is_core_group => Err(Refusal::no_resource()),
        None => Err(Refusal::no_path()),
    }
}

fn act(store: &mut Store, call: &Call<'_>) -> Result<Outcome, Stop> {
    let is_one = !call.target.name.is_empty();
    let is_everywhere = call.kind.is_namespaced && call.target.namespace.is_empty();
    let answer = match (call.request.method.as_str(), is_one) {
        ("GET", _) if call.target.is_watch || call.request.says("watch") => {
            return Ok(Outcome::Watch(Box::new(Watch::open(store, call)?)));
        }
        ("GET", true) => read::get(store, call)?,
        ("GET", false) => read::list(store, call)?,
        ("POST" | "DELETE", _) if call.is_status() => return Err(status_only(call).into()),
        ("POST", false) if is_everywhere && call.kind.is_custom() => {
            return Err(Refusal::no_path().into());
        }
        ("POST", false) if !is_everywhere => write::create(store, call)?,
        ("PUT", true) => write::replace(store, call)?,
        ("PATCH", true) => write::patch(store, call)?,
        ("DELETE", true) => write::delete(store, call)?,
        ("DELETE", false) if !is_everywhere => write::delete_collection(store, call)?,
        ("PUT", false) if call.kind.is_custom() => {
            body::object(call)?;
            return Err(Refusal::bad("name must be provided").into());
        }
        _other => return Err(Refusal::no_method().into()),
    };
    Ok(Outcome::Answer(answer))
}

fn status_only(call: &Call<'_>) -> Refusal {
    if !call.kind.is_custom() {
        return Refusal::no_method();
    }
    let verb = if call.request.method == "POST" {
        "create"
    } else {
        "delete"
    };
    let resource = call.kind.resource();
    let why = format!("{verb} is not supported on resources of kind \"{resource}\"");
    let mut refusal = Refusal::new(405, "MethodNotAllowed", why);
    refusal.details =
        Some(serde_json::json!({"group": call.target.group, "kind": call.target.plural}));
    refusal
}
