//! What a stream of documents becomes, and what of it survives a broken one.

use super::*;
use crate::crd::Pool;
use crate::node::Ending;
use crate::service::{Endpoint, Family, FamilyPolicy, Protocol, Service, TrafficPolicy};
use crate::world::World;
use proptest::prelude::*;

fn read(text: &str) -> Manifests {
    super::read("f.yaml", text, DEFAULT_NAMESPACE)
}

/// What is read, in order: keys of objects and `!` before problems, then notes after `-`.
fn check(text: &str, expected: &[&str]) {
    let manifests = read(text);
    let shown = |object: &Result<Object, Problem>| match object {
        Ok(object) => object.key().to_string(),
        Err(problem) => format!("! {problem}"),
    };
    let mut all: Vec<_> = manifests.objects.iter().map(shown).collect();
    all.extend(manifests.notes.iter().map(|note| format!("- {note}")));
    assert_eq!(all, expected);
}

fn service(spec: &str) -> Service {
    let text =
        format!("{{apiVersion: v1, kind: Service, metadata: {{name: s}}, spec: {{{spec}}}}}");
    match read(&text).objects.remove(0) {
        Ok(Object::Service(service)) => service,
        other => panic!("{other:?}"),
    }
}

fn check_service(spec: &str, expected: &str) {
    let text =
        format!("{{apiVersion: v1, kind: Service, metadata: {{name: s}}, spec: {{{spec}}}}}");
    check(
        &text,
        &[&format!("! f.yaml#1: Service default/s: {expected}")],
    );
}

fn pool(addresses: &str) -> Result<Pool, String> {
    let text = format!(
        "{{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {{name: p}}, spec: {{addresses: [{addresses}]}}}}"
    );
    match read(&text).objects.remove(0) {
        Ok(Object::Pool(pool)) => Ok(pool),
        Ok(other) => panic!("{other:?}"),
        Err(problem) => Err(format!("{}: {}", problem.field, problem.why)),
    }
}

const POOL: &str = "apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: p}
spec: {addresses: [192.0.2.0/24]}
";

const NAMESPACE: &str = "apiVersion: v1
kind: Namespace
metadata:
  name: n
";

#[test]
fn a_broken_document_hides_no_other() {
    let why = "did not find expected node content at line 7 column 1, while parsing a flow node";
    check(
        &format!("{POOL}---\na: [\n---\n{NAMESPACE}"),
        &[
            "IPAddressPool metallb-system/p",
            &format!("! f.yaml#2: {why}"),
            "Namespace n",
        ],
    );
}

#[test]
fn separators_make_no_documents() {
    let text = format!(
        "\u{feff}# a licence\n---\n--- # first\r\n{NAMESPACE}...\n%YAML 1.2\n---\n\n---   \n{POOL}---"
    );
    check(&text, &["Namespace n", "IPAddressPool metallb-system/p"]);
    check("", &[]);
    check("---\n---\n", &[]);
    check("null", &[]);
}

#[test]
fn dashes_within_a_text_separate_nothing() {
    let text =
        format!("{NAMESPACE}  annotations:\n    note: |\n      ---\n      ----\n    ---x: y\n");
    check(&text, &["Namespace n"]);
}

#[test]
fn json_is_read_too_also_as_a_stream() {
    let object = r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"n","labels":{"a":"\ud83d\ude00"}}}"#;
    // A label value of that kind is the API server's matter; what counts is that the text is read.
    check(
        &format!("{object}\n{object}\n"),
        &["Namespace n", "Namespace n"],
    );
}

#[test]
fn lists_are_their_items() {
    let text = format!(
        "apiVersion: v1\nkind: List\nitems:\n- {}\n- 3\n",
        "{apiVersion: v1, kind: Namespace, metadata: {name: n}}"
    );
    check(
        &text,
        &[
            "Namespace n",
            "! f.yaml#1.items[1]: is no object with apiVersion and kind",
        ],
    );
    let text =
        "apiVersion: metallb.io/v1beta1\nkind: CommunityList\nitems: [{metadata: {name: c}}]\n";
    check(text, &["Community metallb-system/c"]);
}

/// The same text as JSON is read item by item.
#[test]
fn lists_of_json_are_what_they_are_as_yaml() {
    let item = r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"n","labels":null}}"#;
    let typed = r#"{"metadata":{"name":"c"},"spec":{"communities":[{"name":"a","value":"1:2"}]}}"#;
    let texts = [
        format!(
            r#"{{"apiVersion":"v1","items":[{item},3,[],{item}],"kind":"List","metadata":{{}}}}"#
        ),
        format!(
            r#"{{"kind":"CommunityList","apiVersion":"metallb.io/v1beta1","items":[{typed}]}}"#
        ),
        format!(r#"{{"kind":"CommunityList","items":[{typed}]}}"#),
        r#"{"kind":"CommunityList","items":[]}"#.to_owned(),
        r#"{"kind":"CommunityList","items":{}}"#.to_owned(),
        r#"{"kind":"List","apiVersion":"v1"}"#.to_owned(),
        format!(r#"{{"kind":"List","items":[{item}],"items":[]}}"#),
        format!(r#"{{"kind":"List","metadata":{{"a":1,"a":2}},"items":[{item}]}}"#),
        format!(r#"{{"kind":"List","items":[{item},{{"a":1,"a":2}}]}}"#),
        format!(r#"{{"kind":"List","items":[{item}"#),
    ];
    for text in texts {
        let as_yaml = read(&format!("# not JSON\n{text}"));
        let as_json = read(&format!("\n{text}"));
        assert_eq!(as_json, as_yaml, "{text}");
    }
}

#[test]
fn what_is_not_ours_is_left_aside() {
    let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, namespace: n}\n---\n\
                apiVersion: metallb.io/v1beta1\nkind: MetalLB\nmetadata: {name: b}\n---\n\
                apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: e}\naddressType: IPv4\nendpoints: []\n";
    check(
        text,
        &[
            "- f.yaml#1: Deployment n/d: not a kind that is read here",
            "- f.yaml#2: MetalLB b: this version does not act on it",
            "- f.yaml#3: EndpointSlice default/e: belongs to no service: it has no label kubernetes.io/service-name",
        ],
    );
}

#[test]
fn secrets_are_had_by_name_and_are_no_objects() {
    let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {password: eA==}\n---\n\
                apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Secret, metadata: {name: b, namespace: n}}]\n---\n\
                kind: Secret: [\n---\n\
                apiVersion: example.com/v1\nkind: Secret\nmetadata: {name: c}\n";
    let found = secrets(text, "here");
    let names: Vec<_> = found
        .iter()
        .map(|((namespace, name), _)| (&**namespace, &**name))
        .collect();
    assert_eq!(names, [("here", "a"), ("n", "b")]);
    assert_eq!(found[0].1["data"]["password"], "eA==");
    let read = super::read("f.yaml", text, DEFAULT_NAMESPACE);
    assert!(!format!("{read:?}").contains("eA=="), "{read:?}");
    assert_eq!(
        read.notes[0].why,
        "read where a BGPPeer names it, and shown nowhere"
    );
}

#[test]
fn what_is_for_bgp_is_checked_as_all_else() {
    let of = |version: &str, kind: &str, spec: &str| {
        format!(
            "apiVersion: metallb.io/{version}\nkind: {kind}\nmetadata: {{name: x}}\nspec: {{{spec}}}\n---\n"
        )
    };
    let peer = "myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.1";
    let good = of("v1beta2", "BGPPeer", peer) + &of("v1beta1", "BGPAdvertisement", "");
    check(
        &good,
        &[
            "BGPPeer metallb-system/x",
            "BGPAdvertisement metallb-system/x",
        ],
    );
    let bad = of(
        "v1beta1",
        "BGPPeer",
        &format!("{peer}, holdTime: 2s, vrf: red"),
    ) + &of("v1beta1", "BFDProfile", "detectMultiplier: 1");
    check(
        &bad,
        &[
            "! f.yaml#1: BGPPeer metallb-system/x: spec.holdTime: 2s is neither 0 nor at least 3s",
            "! f.yaml#2: BFDProfile metallb-system/x: spec.detectMultiplier: 1 is not between 2 and 255",
            "- f.yaml#1: BGPPeer metallb-system/x: spec.vrf is not known and has no effect",
        ],
    );
}

#[test]
fn a_misspelt_kind_names_its_neighbour() {
    let of = |version: &str, kind: &str| {
        format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: x}}\n")
    };
    let told = "! f.yaml#1: kind: MetalLB has no kind \"IPAdressPool\"; \"IPAddressPool\" perhaps";
    check(&of("metallb.io/v1beta1", "IPAdressPool"), &[told]);
    let told = "! f.yaml#1: apiVersion: \"v1\" is not served, \"v1beta1\" is";
    check(&of("metallb.io/v1", "IPAddressPool"), &[told]);
    check("kind: Service\n", &["! f.yaml#1: apiVersion: is missing"]);
    check("a: b\n", &["! f.yaml#1: kind: is missing"]);
    check(
        "kind: [x]\napiVersion: v1\n",
        &["! f.yaml#1: kind: is missing"],
    );
    check(
        "- a\n",
        &["! f.yaml#1: is no object with apiVersion and kind"],
    );
}

#[test]
fn an_object_needs_a_good_name() {
    let of = |metadata: &str| format!("apiVersion: v1\nkind: Service\nmetadata: {metadata}\n");
    check(&of("{}"), &["! f.yaml#1: metadata.name: is missing"]);
    check(&of("{name: 3}"), &["! f.yaml#1: metadata.name: is no text"]);
    let told = "! f.yaml#1: Service N/A: metadata.name: \"A\" is no name: lower-case letters, digits and '-', at most 63 \
                characters; metadata.namespace: \"N\" is no name: lower-case letters, digits and '-', at most 63 characters";
    check(&of("{name: A, namespace: N}"), &[told]);
}

#[test]
fn configuration_counts_in_one_namespace() {
    let elsewhere = POOL.replace("name: p", "name: p, namespace: default");
    let told = "! f.yaml#1: IPAddressPool default/p: metadata.namespace: is \"default\", configuration is read from \
                \"metallb-system\" only";
    check(&elsewhere, &[told]);
    let here = super::read("f.yaml", &elsewhere, "default");
    assert!(here.objects[0].is_ok());
}

#[test]
fn a_mistaken_type_names_its_field() {
    let text = POOL.replace("[192.0.2.0/24]", "[192.0.2.0/24, 4]");
    let told = "! f.yaml#1: IPAddressPool metallb-system/p: spec.addresses[1]: invalid type: integer `4`, expected a string";
    check(&text, &[told]);
    let text = POOL.replace("spec: {", "spec: {autoAssign: 'no', ");
    let told = "! f.yaml#1: IPAddressPool metallb-system/p: spec.autoAssign: invalid type: string \"no\", expected a boolean";
    check(&text, &[told]);
    let text = POOL.replace("addresses: [192.0.2.0/24]", "addresses: null");
    let told = "! f.yaml#1: IPAddressPool metallb-system/p: spec: missing field `addresses`";
    check(&text, &[told]);
}

#[test]
fn all_faults_of_an_object_are_told_up_to_a_few() {
    let addresses: Vec<_> = (0..6).map(|i| format!("bad{i}")).collect();
    let told = pool(&addresses.join(", ")).unwrap_err();
    let each = |i: usize| {
        format!("spec.addresses[{i}]: \"bad{i}\" is neither address/bits nor first-last")
    };
    assert_eq!(
        told,
        format!(
            "{}; {}; {}; {}; and 2 more",
            each(0),
            each(1),
            each(2),
            each(3)
        )
    );
}

#[test]
fn a_field_that_no_kind_has_is_worth_a_note() {
    let text = POOL.replace("spec: {", "status: {x: 1}\nspec: {autoAsign: false, ")
        + "---\napiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80, prot: UDP}]}\n";
    check(
        &text,
        &[
            "IPAddressPool metallb-system/p",
            "Service default/s",
            "- f.yaml#1: IPAddressPool metallb-system/p: spec.autoAsign is not known and has no effect",
            "- f.yaml#2: Service default/s: spec.ports[0].prot is not known and has no effect",
        ],
    );
}

#[test]
fn null_is_absent_but_an_entry_of_labels_is_empty() {
    let text = "apiVersion: v1\nkind: Node\nmetadata: {name: n, labels: {a: , b: x}}\nspec: null\n";
    match read(text).objects.remove(0) {
        Ok(Object::Node(node)) => assert_eq!(node.labels.get("a").map(String::as_str), Some("")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn anchors_and_merge_keys_are_followed() {
    let text = "apiVersion: v1\nkind: Service\nmetadata: &m {name: s}\nspec:\n  ports:\n  - &p {name: a, port: 80}\n  \
                - {<<: *p, name: b, port: 81}\n";
    check(text, &["Service default/s"]);
}

#[test]
fn a_key_that_stands_twice_is_a_fault() {
    check(
        "kind: Service\nkind: Node\n",
        &["! f.yaml#1: the key \"kind\" stands there twice"],
    );
}

#[test]
fn aliases_cannot_blow_up_a_document() {
    let mut text = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 0..9 {
        let list = vec![format!("*a{i}"); 10].join(", ");
        text += &format!("b{i}: &a{} [{list}]\n", i + 1);
    }
    let manifests = read(&text);
    assert_eq!(manifests.objects.len(), 1);
    assert!(manifests.objects[0].is_err());
    let long = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(10_000),
        vec!["*a"; 1000].join(", ")
    );
    check(
        &long,
        &["! f.yaml#1: b[5]: grows too large by its aliases at line 1 column 4"],
    );
}

#[test]
fn depth_is_bounded() {
    let text = format!("a: {}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(read(&text).objects[0].is_err());
    let text = format!("{{\"a\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(read(&text).objects[0].is_err());
}

#[test]
fn tags_are_no_values() {
    let manifests = read("a: !secret b\n");
    assert!(manifests.objects[0].is_err());
}

#[test]
fn a_service_gets_the_defaults_of_an_api_server() {
    let service = service("type: LoadBalancer, ports: [{port: 80}]");
    assert_eq!(service.id.namespace, "default");
    assert_eq!(service.families, [Family::V4]);
    assert_eq!(service.family_policy, FamilyPolicy::SingleStack);
    assert_eq!(service.policy, TrafficPolicy::Cluster);
    assert_eq!(service.ports[0].protocol, Protocol::Tcp);
}

#[test]
fn families_follow_cluster_addresses_then_the_policy() {
    let families = |spec: &str| service(&format!("ports: [{{port: 80}}], {spec}")).families;
    let (v4, v6) = (Family::V4, Family::V6);
    assert_eq!(families("ipFamilies: [IPv6]"), [v6]);
    assert_eq!(families("ipFamilyPolicy: PreferDualStack"), [v4, v6]);
    assert_eq!(
        families("ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv6]"),
        [v6, v4]
    );
    assert_eq!(
        families("ipFamilyPolicy: PreferDualStack, clusterIPs: [10.0.0.1]"),
        [v4]
    );
    assert_eq!(families("clusterIP: 'fd00::1'"), [v6]);
    assert_eq!(families("clusterIP: None"), [v4]);
}

#[test]
fn a_service_that_an_api_server_refuses_is_a_problem() {
    let lb = "type: LoadBalancer, ports: [{port: 80}]";
    check_service(
        "type: LoadBalanced",
        "spec.type: \"LoadBalanced\" is none of [\"ClusterIP\", \"NodePort\", \"LoadBalancer\", \"ExternalName\"]",
    );
    check_service("type: LoadBalancer", "spec.ports: is empty");
    check_service(
        "type: LoadBalancer, ports: [{port: 0}]",
        "spec.ports[0].port: 0 is not between 1 and 65535",
    );
    check_service(
        "ports: [{port: 80, protocol: tcp}]",
        "spec.ports[0].protocol: \"tcp\" is none of TCP, UDP, SCTP",
    );
    check_service(
        "ports: [{port: 80}, {name: b, port: 81}]",
        "spec.ports[0].name: is missing, and there is more than one port",
    );
    check_service(
        "ports: [{name: a, port: 80}, {name: a, port: 80}]",
        "spec.ports[1].name: \"a\" stands there twice; spec.ports[1].port: TCP/80 stands there twice",
    );
    check_service(
        "ports: [{port: x}]",
        "spec.ports[0].port: invalid type: string \"x\", expected i32",
    );
    check_service(
        &format!("{lb}, externalTrafficPolicy: local"),
        "spec.externalTrafficPolicy: \"local\" is neither Cluster nor Local",
    );
    check_service(
        &format!("{lb}, ipFamilyPolicy: DualStack"),
        "spec.ipFamilyPolicy: \"DualStack\" is none of SingleStack, PreferDualStack, RequireDualStack",
    );
    check_service(
        &format!("{lb}, ipFamilies: [IPv4, IPv4]"),
        "spec.ipFamilies[1]: IPv4 stands there twice",
    );
    check_service(
        &format!("{lb}, ipFamilies: [IPv4, IPv6]"),
        "spec.ipFamilies: names two families of a SingleStack service",
    );
    check_service(
        &format!("{lb}, clusterIP: None"),
        "spec.clusterIPs[0]: a service of type LoadBalancer cannot be headless",
    );
    check_service(
        "loadBalancerClass: a/b",
        "spec.loadBalancerClass: is for type LoadBalancer only",
    );
    check_service(
        &format!("{lb}, selector: {{app: a b}}"),
        "spec.selector.app: \"a b\" is no label value: up to 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends",
    );
}

#[test]
fn a_bad_annotation_stands_beside_its_service_and_against_configuration() {
    let annotation = "annotations: {heliograph.io/ecko: 'true'}";
    let text = format!("apiVersion: v1\nkind: Service\nmetadata: {{name: s, {annotation}}}\n");
    let why = "metadata.annotations.heliograph.io/ecko: is not known; heliograph.io/echo perhaps";
    check(
        &text,
        &[
            "Service default/s",
            &format!("! f.yaml#1: Service default/s: {why}"),
        ],
    );
    let text = POOL.replace("name: p", &format!("name: p, {annotation}"));
    check(
        &text,
        &[&format!(
            "! f.yaml#1: IPAddressPool metallb-system/p: {why}"
        )],
    );
}

#[test]
fn an_unreadable_ingress_is_kept_as_text() {
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {}\n\
                status: {loadBalancer: {ingress: [{ip: 192.0.2.1}, {hostname: lb.example}, {ip: x}]}}\n";
    match read(text).objects.remove(0) {
        Ok(Object::Service(service)) => assert_eq!(
            service.ingress,
            [
                Ok("192.0.2.1".parse().unwrap()),
                Err("lb.example".into()),
                Err("x".into())
            ]
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_endpoint_that_terminates_but_serves_counts() {
    let text = "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: e, labels: {kubernetes.io/service-name: s}}
addressType: IPv4
endpoints:
- {addresses: [10.0.0.1], nodeName: a}
- {addresses: [10.0.0.2], conditions: {ready: false, serving: true, terminating: true}}
- {addresses: [10.0.0.3], conditions: {ready: false}}
ports: [{port: 80}, {name: any}]
";
    let slice = match read(text).objects.remove(0) {
        Ok(Object::EndpointSlice(slice)) => slice,
        other => panic!("{other:?}"),
    };
    let seen = |e: &Endpoint| (e.can_serve, e.is_ready);
    let seen: Vec<_> = slice.endpoints.iter().map(seen).collect();
    assert_eq!(seen, [(true, true), (true, false), (false, false)]);
    assert_eq!(slice.ports.len(), 1);
    check(
        &text
            .replace("10.0.0.2", "ten")
            .replace("nodeName: a", "nodeName: A"),
        &[
            "! f.yaml#1: EndpointSlice default/e: endpoints[0].nodeName: \"A\": not a node name: lower-case letters, \
           digits, '-' and '.', at most 253 characters; endpoints[1].addresses[0]: \"ten\" is no IP address",
        ],
    );
}

#[test]
fn a_node_that_will_be_gone_says_so_and_is_written_as_it_was_read() {
    let cases = [
        ("metadata: {name: n1}", None),
        (
            "metadata: {name: n1, deletionTimestamp: '2026-01-01T00:00:00Z'}",
            Some(Ending::Deleted),
        ),
        (
            "metadata: {name: n1}\nspec: {taints: [{key: ToBeDeletedByClusterAutoscaler, effect: NoSchedule}]}",
            Some(Ending::Doomed),
        ),
        (
            "metadata: {name: n1}\nspec: {taints: [{key: DeletionCandidateOfClusterAutoscaler, effect: PreferNoSchedule}]}",
            None,
        ),
        (
            "metadata: {name: n1}\nstatus: {conditions: [{type: Ready, status: 'False', message: node is shutting down}]}",
            Some(Ending::ShuttingDown),
        ),
        (
            "metadata: {name: n1}\nstatus: {conditions: [{type: Ready, status: 'False', message: PLEG is not healthy}]}",
            None,
        ),
    ];
    for (text, expected) in cases {
        let read = read(&format!("apiVersion: v1\nkind: Node\n{text}\n"));
        let mut world = World::default();
        for object in read.objects {
            world.put(object);
        }
        let node = world.nodes.values().next().unwrap();
        assert_eq!(node.ending, expected, "{text}");
        let written = write(&world).next().unwrap();
        let again = of_value("x", written, "metallb-system").objects.remove(0);
        assert_eq!(again.unwrap(), Object::Node((**node).clone()), "{text}");
    }
}

#[test]
fn addresses_of_a_pool_are_blocks_and_ranges() {
    let ranges = |text: &str| {
        pool(text).map(|pool| {
            pool.ranges
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        })
    };
    let good =
        |text: &str, expected: &[&str]| assert_eq!(ranges(text).unwrap(), expected, "{text}");
    good("192.0.2.9/29", &["192.0.2.8-192.0.2.15"]);
    good("'192.0.2.1 -  192.0.2.3'", &["192.0.2.1-192.0.2.3"]);
    good(
        "'2001:db8::/126', '::ffff:192.0.2.0/126'",
        &["2001:db8::-2001:db8::3", "192.0.2.0-192.0.2.3"],
    );
    // MetalLB accepts a range across families and takes nothing from it.
    good("'192.0.2.1-2001:db8::1'", &[]);
    let bad = |text: &str, expected: &str| assert_eq!(ranges(text).unwrap_err(), expected);
    bad(
        "192.0.2.1",
        "spec.addresses[0]: \"192.0.2.1\" is neither address/bits nor first-last",
    );
    bad(
        "192.0.2.0/+8",
        "spec.addresses[0]: \"192.0.2.0/+8\" is neither address/bits nor first-last",
    );
    bad(
        "'::/129'",
        "spec.addresses[0]: \"::/129\" is neither address/bits nor first-last",
    );
    bad(
        "192.0.2.9-192.0.2.1",
        "spec.addresses[0]: \"192.0.2.9-192.0.2.1\" is no range: 192.0.2.9 is after 192.0.2.1",
    );
    bad(
        "192.0.2.0/24, 192.0.2.7-192.0.2.9",
        "spec.addresses[1]: \"192.0.2.7-192.0.2.9\" overlaps 192.0.2.0-192.0.2.255",
    );
    bad("", "spec.addresses: is empty");
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_fall(text in "\\PC{0,300}") {
        read(&text);
    }

    #[test]
    fn no_text_of_yaml_makes_the_reader_fall(text in "([-a-z0-9:\\[\\]{}*&!|>#'\"%. \n]|kind: |spec: |apiVersion: v1\n){0,60}") {
        read(&text);
    }

    #[test]
    fn a_damaged_manifest_says_something_of_itself(at in 0_usize..200, byte in any::<char>()) {
        let mut text: Vec<char> = format!("{POOL}---\n{NAMESPACE}").chars().collect();
        let at = at % text.len();
        text[at] = byte;
        let manifests = read(&text.into_iter().collect::<String>());
        prop_assert!(!manifests.objects.is_empty() || !manifests.notes.is_empty());
    }
}
