//! What becomes of a body before anybody judges it.

use super::*;
use axum::http::Method;

fn pages(given: Given) -> (Pages, watch::Sender<Arc<Given>>) {
    let (told, given) = watch::channel(Arc::new(given));
    (Pages::new(given, "metallb-system", Arc::default()), told)
}

fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::builder()
        .method(Method::POST)
        .uri(path)
        .body(body.into())
        .unwrap()
}

async fn text(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20)
        .await
        .unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_before_it_is_read() {
    let (pages, _told) = pages(Given::Unknown);
    let (status, why) = text(
        pages
            .answer(post("/convert", vec![b' '; BODY_BYTES_MAX + 1]))
            .await,
    )
    .await;
    assert_eq!(status, 413);
    assert!(why.contains("7340032 bytes"), "{why}");
    assert_eq!(pages.counts.failures.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_body_that_does_not_say_its_length_is_refused() {
    let (pages, _told) = pages(Given::Unknown);
    let endless = tokio_stream::pending::<Result<Bytes, std::io::Error>>();
    let (status, _) = text(
        pages
            .answer(post("/convert", Body::from_stream(endless)))
            .await,
    )
    .await;
    assert_eq!(status, 413);
}

#[tokio::test]
async fn bodies_together_take_no_more_than_there_is_room_for() {
    let (pages, _told) = pages(Given::Unknown);
    let big = || post("/convert", vec![b' '; BODY_BYTES_MAX]);
    let held: Vec<_> = (0..9).map(|_| pages.room(&big()).unwrap()).collect();
    assert_eq!(
        pages.room(&big()).unwrap_err().0,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert!(
        pages.room(&post("/convert", "{}")).is_ok(),
        "a usual review still fits"
    );
    drop(held);
    assert!(pages.room(&big()).is_ok());
}

#[tokio::test]
async fn a_path_that_nobody_serves_is_not_found() {
    let (pages, _told) = pages(Given::Unknown);
    let (status, _) = text(pages.answer(post("/validate-nothing", "{}")).await).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_verdict_waits_for_the_objects_that_it_depends_on() {
    let (pages, told) = pages(Given::Unknown);
    let review = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{
        "uid":"u","operation":"CREATE","namespace":"metallb-system","name":"p","object":{
        "apiVersion":"metallb.io/v1beta1","kind":"IPAddressPool",
        "metadata":{"name":"p","namespace":"metallb-system"},"spec":{"addresses":["192.0.2.0/24"]}}}}"#;
    let asked = pages.clone();
    let path = "/validate-metallb-io-v1beta1-ipaddresspool";
    let asking = tokio::spawn(async move { text(asked.answer(post(path, review)).await).await });
    tokio::task::yield_now().await;
    assert!(!asking.is_finished());
    told.send_replace(Arc::new(Given::Known(Arc::default())));
    let (status, verdict) = asking.await.unwrap();
    assert_eq!(status, 200);
    assert!(verdict.contains(r#""allowed":true"#), "{verdict}");
}
