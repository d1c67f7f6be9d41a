use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use portcullis_model::{Balance, Upstream};
use portcullis_net::Connector;
use portcullis_telemetry::Metrics;
use portcullis_traffic::{Choice, Pick, Tried};

use super::{Acquired, LocalEndpoint, LocalUpstream, SharedUpstream};
use crate::testing::{listed, on_worker, servers, upstream};

/// An upstream and one worker's connections to it.
struct Gateway {
    metrics: Arc<Metrics>,
    local: Rc<LocalUpstream>,
}

impl Gateway {
    fn new(config: Upstream) -> Self {
        let metrics = Arc::new(Metrics::new(1));
        let shared = Arc::new(SharedUpstream::new(config, None, metrics.clone(), None));
        let local = Rc::new(LocalUpstream::new(shared, Rc::new(Connector::new()), None));
        Self { metrics, local }
    }

    /// Takes over another configuration, as a reload does. Returns the old generation.
    fn reload(&mut self, config: Upstream) -> Rc<LocalUpstream> {
        let old = self.local.clone();
        let shared = Arc::new(SharedUpstream::new(config, None, self.metrics.clone(), Some(&old.shared)));
        self.local = Rc::new(LocalUpstream::new(shared, old.connector.clone(), Some(&old)));
        old.retire(Some(&self.local));
        old
    }

    fn shared(&self) -> &SharedUpstream {
        &self.local.shared
    }

    fn addresses(&self) -> Vec<String> {
        let set = self.shared().endpoints.current();
        set.members().iter().map(|member| member.endpoint.address().to_string()).collect()
    }

    fn endpoint(&self, address: &str) -> Rc<LocalEndpoint> {
        let set = self.shared().endpoints.current();
        let found = set.members().iter().find(|member| &**member.endpoint.address() == address);
        self.local.endpoint(&found.unwrap().endpoint)
    }

    /// Returns whether a metric of the endpoint is shown.
    fn is_shown(&self, address: &str) -> bool {
        let mut text = String::new();
        self.metrics.render(&mut text);
        text.contains(&format!("upstream_endpoint_healthy{{upstream=\"app\",endpoint=\"{address}\"}}"))
    }
}

/// An exchange under way at an endpoint.
struct Exchange {
    pick: Pick,
    endpoint: Rc<LocalEndpoint>,
    connection: Box<crate::h1::ClientConnection>,
    reused: bool,
}

impl Exchange {
    /// Begins at the endpoint whose turn it is.
    async fn begin(local: &LocalUpstream) -> Self {
        let shared = &local.shared;
        let pick = shared
            .endpoints
            .pick(&Choice { now: shared.now(), tried: &Tried::new(), key: None, chance: &|| 0 })
            .unwrap();
        let endpoint = local.endpoint(pick.endpoint());
        let acquired = match local.reuse(&endpoint, None, None, false) {
            Some(reused) => reused,
            None => local.connect(&endpoint, None, None, false, false).await.unwrap(),
        };
        let Acquired::H1(connection, reused) = acquired else { panic!("HTTP/1 was configured") };
        Self { pick, endpoint, connection, reused }
    }

    /// Ends as one whose response has come.
    fn end(self) {
        self.endpoint.h1.keep(self.connection);
        drop(self.pick);
    }
}

/// Two addresses at which a server listens.
fn addresses(servers: &[(std::net::TcpListener, SocketAddr); 2]) -> [String; 2] {
    [&servers[0], &servers[1]].map(|(_, address)| address.to_string())
}

#[test]
fn a_replaced_set_takes_effect_while_exchanges_run() {
    on_worker(async {
        let (first, second) = (servers(), servers());
        let ([a, b], [c, _]) = (addresses(&first), addresses(&second));
        let gateway = Gateway::new(upstream(&[&a, &b]));
        let (at_a, at_b) = (Exchange::begin(&gateway.local).await, Exchange::begin(&gateway.local).await);
        assert_eq!((&**at_a.endpoint.address(), &**at_b.endpoint.address()), (&*a, &*b));
        let (old_a, old_b) = (at_a.endpoint.clone(), at_b.endpoint.clone());
        at_b.end();

        gateway.shared().replace(&listed(&[&c, &b]));
        gateway.local.sweep();
        assert_eq!(gateway.addresses(), [&*c, &*b]);
        assert!(gateway.is_shown(&c) && gateway.is_shown(&b));
        let mut reused = Vec::new();
        for _ in 0..4 {
            let exchange = Exchange::begin(&gateway.local).await;
            reused.push((exchange.endpoint.address().to_string(), exchange.reused));
            exchange.end();
        }
        reused.sort();
        let mut expected = [(c.clone(), false), (c, true), (b.clone(), true), (b.clone(), true)];
        expected.sort();
        assert_eq!(reused, expected, "the pool of the endpoint that stays is used");
        assert!(Rc::ptr_eq(&old_b, &gateway.endpoint(&b)));

        assert_eq!(old_a.shared.in_flight(), 1, "the exchange at the removed endpoint goes on");
        at_a.end();
        assert_eq!(old_a.shared.in_flight(), 0);
        assert!(old_a.h1.is_empty(), "its connection was closed");
        drop(old_a);
        assert!(!gateway.is_shown(&a), "nothing holds its metrics");
    });
}

#[test]
fn an_exchange_that_chose_before_the_replacement_leaves_no_connection_behind() {
    on_worker(async {
        let servers = servers();
        let [a, b] = addresses(&servers);
        let gateway = Gateway::new(upstream(&[&a]));
        let exchange = Exchange::begin(&gateway.local).await;
        let removed = exchange.endpoint.clone();
        gateway.shared().replace(&listed(&[&b]));
        exchange.end();
        assert!(!removed.h1.is_empty(), "the worker has not seen the new set yet");
        gateway.local.sweep();
        assert!(removed.h1.is_empty());
    });
}

#[test]
fn a_reload_in_another_order_keeps_counts_health_and_connections() {
    on_worker(async {
        let servers = servers();
        let [a, b] = addresses(&servers);
        let mut gateway = Gateway::new(upstream(&[&a, &b]));
        Exchange::begin(&gateway.local).await.end();
        let under_way = Exchange::begin(&gateway.local).await;
        let kept = [gateway.endpoint(&a), gateway.endpoint(&b)];
        gateway.shared().record_failure(&kept[1], "refused");

        let other_order = Upstream { balance: Balance::LeastRequests, ..upstream(&[&b, &a]) };
        let old = gateway.reload(other_order);
        assert!(Rc::ptr_eq(&kept[0], &gateway.endpoint(&a)) && Rc::ptr_eq(&kept[1], &gateway.endpoint(&b)));
        assert!(kept[1].shared.health().is_ejected() && !kept[0].shared.health().is_ejected());
        assert_eq!(kept[1].shared.in_flight(), 1);
        let next = Exchange::begin(&gateway.local).await;
        assert!(next.endpoint.address() == kept[0].address() && next.reused);
        next.end();
        under_way.end();
        assert!(!kept[1].h1.is_empty(), "a connection that began under the old generation is kept");
        drop(old);
    });
}

#[test]
fn a_reload_that_adds_and_removes_endpoints_keeps_the_others() {
    on_worker(async {
        let (first, second) = (servers(), servers());
        let ([a, b], [c, _]) = (addresses(&first), addresses(&second));
        let mut gateway = Gateway::new(upstream(&[&a, &b]));
        Exchange::begin(&gateway.local).await.end();
        Exchange::begin(&gateway.local).await.end();
        let (removed, kept) = (gateway.endpoint(&a), gateway.endpoint(&b));

        gateway.reload(upstream(&[&c, &b]));
        assert!(Rc::ptr_eq(&kept, &gateway.endpoint(&b)) && !kept.h1.is_empty());
        assert!(removed.h1.is_empty(), "nothing is kept for it");
        assert!(gateway.is_shown(&c) && gateway.is_shown(&b));
        Exchange::begin(&gateway.local).await.end();
        Exchange::begin(&gateway.local).await.end();
        assert!(!gateway.endpoint(&c).h1.is_empty());
    });
}

#[test]
fn what_an_old_generation_opens_after_a_reload_is_not_kept() {
    on_worker(async {
        let servers = servers();
        let [a, b] = addresses(&servers);
        let mut gateway = Gateway::new(upstream(&[&a]));
        let old = gateway.reload(upstream(&[&b]));
        let exchange = Exchange::begin(&old).await;
        let endpoint = exchange.endpoint.clone();
        assert_eq!(&**endpoint.address(), &*a);
        exchange.end();
        assert!(endpoint.h1.is_empty());
    });
}
