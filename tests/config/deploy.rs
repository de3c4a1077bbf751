//! What is in `deploy/` fits the reader, and one file the other.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tower_sse::proxy::config::Config;

fn root(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(root(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn manifest(name: &str) -> Value {
    let mut documents: Vec<Value> =
        serde_saphyr::from_multiple(&text(&format!("deploy/kubernetes/{name}.yaml"))).unwrap();
    assert_eq!(documents.len(), 1, "{name}");
    documents.remove(0)
}

fn map_of_config() -> String {
    let map = manifest("configmap");
    map["data"]["proxy.yaml"].as_str().unwrap().to_owned()
}

/// Reads a file as the binary does, with nothing in the environment.
fn read(name: &str, text: &str) -> Config {
    let config = Config::parse(name, text, &|_| None).unwrap();
    assert_eq!(config.warnings(), [""; 0], "{name}");
    config
}

#[test]
fn check_accepts_every_proxy_yaml() {
    let folder = std::env::temp_dir().join(format!("tower-sse-deploy-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let files = [
        ("systemd", text("deploy/systemd/proxy.yaml")),
        ("docker", text("deploy/docker/proxy.yaml")),
        ("kubernetes", map_of_config()),
    ];
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::write(&path, &text).unwrap();
        let checked = Command::new(env!("CARGO_BIN_EXE_sse-proxy"))
            .args(["check", "--config"])
            .arg(path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(
            checked.status.success() && said.is_empty(),
            "{name}: {said}"
        );
        // What is suggested in comments is right, too.
        let suggested = text.replace("# journal:", "journal:");
        let suggested = suggested.replace("# access_log:", "access_log:");
        let suggested = suggested.replace("/var/log/sse-proxy/", "/tmp/");
        let env = |name: &str| (name == "SSE_SECRET").then(|| "long enough a secret".to_owned());
        match Config::parse(name, &suggested, &env) {
            Ok(_) => {}
            Err(error) => assert!(error.to_string().contains("built without"), "{error}"),
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_manifests_fit_each_other_and_their_configuration() {
    let config = read("configmap", &map_of_config());
    assert!(config.operations.reload.watch);
    let deployment = manifest("deployment");
    assert_eq!(deployment["kind"], "Deployment");
    let pod = &deployment["spec"]["template"];
    let labels = &pod["metadata"]["labels"];
    let container = &pod["spec"]["containers"][0];
    let port = |name: &str| {
        let ports = container["ports"].as_array().unwrap();
        let port = ports.iter().find(|port| port["name"] == name).unwrap();
        port["containerPort"].as_u64().unwrap()
    };
    assert_eq!(port("http"), u64::from(config.listeners[0].address.port()));
    let admin: SocketAddr = config.admin.unwrap();
    assert_eq!(port("admin"), u64::from(admin.port()));
    assert!(admin.ip().is_unspecified(), "the kubelet asks from outside");
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        assert_eq!(container[probe]["httpGet"]["port"], "admin", "{probe}");
    }
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
    assert_eq!(pod["spec"]["securityContext"]["runAsNonRoot"], true);
    let security = &container["securityContext"];
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert_eq!(security["allowPrivilegeEscalation"], false);

    let grace = pod["spec"]["terminationGracePeriodSeconds"]
        .as_u64()
        .unwrap();
    let stop = &container["lifecycle"]["preStop"]["sleep"]["seconds"];
    let drain = Duration::from_secs(stop.as_u64().unwrap()) + config.drain.deadline;
    assert!(Duration::from_secs(grace) > drain);

    let mount = &container["volumeMounts"][0];
    let file = format!("{}/proxy.yaml", mount["mountPath"].as_str().unwrap());
    let arguments = container["args"].as_array().unwrap();
    assert!(arguments.iter().any(|argument| *argument == file));
    let map = &pod["spec"]["volumes"][0]["configMap"]["name"];
    assert_eq!(*map, manifest("configmap")["metadata"]["name"]);

    let (service, budget) = (manifest("service"), manifest("poddisruptionbudget"));
    assert_eq!(service["spec"]["selector"], *labels);
    assert_eq!(service["spec"]["ports"][0]["targetPort"], "http");
    assert_eq!(budget["kind"], "PodDisruptionBudget");
    assert_eq!(budget["spec"]["selector"]["matchLabels"], *labels);
    assert_eq!(deployment["spec"]["selector"]["matchLabels"], *labels);
}

/// The values of a key in a unit.
fn values(unit: &str, key: &str) -> Vec<String> {
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    let values = lines.filter(|(name, _)| *name == key);
    values.map(|(_, value)| value.to_owned()).collect()
}

#[test]
fn the_units_fit_their_configuration() {
    let config = read("systemd", &text("deploy/systemd/proxy.yaml"));
    let service = text("deploy/systemd/sse-proxy.service");
    assert_eq!(values(&service, "Type"), ["notify"]);
    let [stop] = &values(&service, "TimeoutStopSec")[..] else {
        panic!("one TimeoutStopSec");
    };
    let seconds: u64 = stop.trim_end_matches('s').parse().unwrap();
    assert!(Duration::from_secs(seconds) > config.drain.deadline);
    let start = values(&service, "ExecStart").remove(0);
    let deb = text("Cargo.toml");
    let file = start.split(' ').next_back().unwrap();
    assert!(
        deb.contains(&format!("conf-files = [\"{file}\"]")),
        "{file}"
    );

    let socket = text("deploy/systemd/sse-proxy.socket");
    let addresses = values(&socket, "ListenStream");
    let addresses: Vec<SocketAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
    let listeners: Vec<_> = config.listeners.iter().map(|l| l.address).collect();
    assert_eq!(addresses, listeners);
}

#[test]
fn what_is_copied_is_there() {
    let dockerfile = text("deploy/docker/Dockerfile");
    let copied = dockerfile.lines().filter_map(|l| l.strip_prefix("COPY "));
    let copied = copied.filter(|line| !line.starts_with("--from"));
    for line in copied {
        let words: Vec<_> = line.split(' ').collect();
        for source in &words[..words.len() - 1] {
            assert!(root(source).exists(), "{source}");
        }
    }
    let uid = manifest("deployment")["spec"]["template"]["spec"]["securityContext"].clone();
    assert!(dockerfile.contains(&format!("USER {}:", uid["runAsUser"])));
    read("docker", &text("deploy/docker/proxy.yaml"));

    let cargo = text("Cargo.toml");
    let assets = cargo.split_once("\nassets = [").unwrap().1;
    let assets = assets.split_once("\n]").unwrap().0;
    for source in assets.lines().filter_map(|line| line.split('"').nth(1)) {
        assert!(
            source.starts_with("target/") || root(source).exists(),
            "{source}"
        );
    }
}
