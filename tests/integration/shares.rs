//! Exchanges that rest keep what they have: others go on all the same, and who finds no place is told to come again.

use hyper::Method;
use tokio::task::JoinSet;

use crate::harness::{TestClient, TestGateway, TestUpstream};
use crate::setup::{KEY, config, shipped};

/// A gateway with few instances: `/slow` through header rules to a server that never answers, `/quick` through the same
/// to one that does, and `/other` through another policy.
async fn start(good: &TestUpstream, silent: &TestUpstream) -> TestGateway {
    let routes = format!(
        "[upstreams.silent]\nendpoints = [\"{}\"]\n\
         [routes.slow]\nmatch = {{ path = \"/slow\" }}\nuse = [\"stamp\"]\nto = \"silent\"\n\
         [routes.quick]\nmatch = {{ path = \"/quick\" }}\nuse = [\"stamp\"]\nto = \"app\"\n\
         [routes.other]\nmatch = {{ path = \"/other\" }}\nuse = [\"keys\", \"limit\"]\nto = \"app\"\n",
        silent.address()
    );
    let policies = shipped("rate = \"1000/s\"");
    let text = config(good.address(), &[], &format!("{policies}{routes}"))
        .replace("workers = 2", "workers = 2\ntrusted-proxies = [\"127.0.0.1\"]\npolicy-instances-max = 40");
    TestGateway::start(&text).await
}

/// Has one client ask for `/slow` so many times at once, and takes the answers of those that are refused.
async fn rest(gateway: &TestGateway, from: &'static str, streams: usize, refused: usize) -> JoinSet<()> {
    let client = TestClient::h2(gateway.address("web")).await;
    let mut resting = JoinSet::new();
    let (sender, mut answers) = tokio::sync::mpsc::channel(streams);
    for _ in 0..streams {
        let (mut client, sender) = (client.share(), sender.clone());
        resting.spawn(async move {
            // What is not refused is not answered either.
            let asked = client.try_send(Method::GET, "/slow", &[("x-forwarded-for", from)], "").await;
            if let Ok(reply) = asked {
                // Later ones come when none is waited for any more.
                let _unheard = sender.send(reply).await.is_err();
            }
        });
    }
    // The connection lives as long as they do.
    resting.spawn(async move {
        let _client = client;
        std::future::pending::<()>().await;
    });
    for _ in 0..refused {
        let reply = answers.recv().await.unwrap();
        assert_eq!((reply.status, reply.header("retry-after").as_str()), (503, "1"));
        assert_eq!(reply.text(), "503 Service Unavailable\ntry again later\n");
    }
    resting
}

#[tokio::test]
async fn exchanges_that_rest_take_no_instances_from_other_policies_or_clients() {
    let good = TestUpstream::named("app").await;
    let silent = TestUpstream::streaming_h1(|_| std::future::pending()).await;
    let gateway = start(&good, &silent).await;
    let mut client = TestClient::h1(gateway.address("web")).await;
    // Of 40, one client gets 8 that are not counted and 8 that are as many as are left to the policy.
    let _one = rest(&gateway, "192.0.2.1", 60, 44).await;
    for _ in 0..3 {
        assert_eq!(client.get_with("/other", &[("x-api-key", KEY)]).await.status, 200, "another policy");
        let reply = client.get_with("/quick", &[("x-forwarded-for", "192.0.2.2")]).await;
        assert_eq!(reply.status, 200, "another client of the same policy");
    }
    // However many clients there are, there is something left for other policies.
    let _others: Vec<_> = [
        rest(&gateway, "192.0.2.3", 20, 17).await,
        rest(&gateway, "192.0.2.4", 20, 19).await,
        rest(&gateway, "192.0.2.5", 20, 20).await,
    ]
    .into();
    assert_eq!(client.get_with("/other", &[("x-api-key", KEY)]).await.status, 200);
}
