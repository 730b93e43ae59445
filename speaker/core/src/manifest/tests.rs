use super::*;

fn read(text: &str) -> Manifests {
    super::read("f.yaml", text, DEFAULT_NAMESPACE)
}

fn keys(manifests: &Manifests) -> Vec<String> {
    let text = |object: &Result<Object, Problem>| match object {
        Ok(object) => object.key().to_string(),
        Err(problem) => format!("! {problem}"),
    };
    manifests.objects.iter().map(text).collect()
}

fn check(text: &str, expected: &[&str]) {
    assert_eq!(keys(&read(text)), expected);
}

const POOL: &str = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: p}\nspec: {addresses: [192.0.2.0/24]}\n";

#[test]
fn a_broken_document_hides_no_other() {
    check(
        &format!("{POOL}---\na: [\n---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: n\n"),
        &[
            "IPAddressPool metallb-system/p",
            "! f.yaml#2: did not find expected node content at line 7 column 1, while parsing a flow node",
            "Namespace n",
        ],
    );
}
