//! A chart: the objects of the plain manifest, with places where values go.
//!
//! With the values that the chart comes with it renders the plain manifest, which a test holds it to.

mod template;
mod values;

use serde_json::Value;

use self::template::Template;
use super::Files;
use super::printed::Printed;
use crate::Error;

const CHECKS: &str = include_str!("checks.yaml");

/// What stands in [`CHECKS`] for the names of the container's environment variables.
const OWN_VARIABLES: &str = "OWN_VARIABLES";

const SCHEMA: &str = include_str!("values.schema.json");

const NODE_AFFINITY: &str = "{{- with .Values.nodeAffinity }}\naffinity:\n  nodeAffinity:\n    \
                             {{- toYaml . | nindent INDENT+4 }}\n{{- end }}";

const POD: &str = "/spec/template/spec";
const CONTAINER: &str = "/spec/template/spec/containers/0";

const RIGHTS: [&str; 4] = ["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"];

/// The files of one provider's chart.
pub(super) fn files(
    provider: &str,
    daemon_set: &Printed,
    deployment: &Printed,
) -> Result<Files, Error> {
    let config = daemon_set.of_kind("ConfigMap")?;
    let secret = daemon_set.of_kind("Secret")?;
    let running = daemon_set.of_kind("DaemonSet")?;
    let values = values::Values {
        provider,
        config: text_of(config, "data")?,
        credentials: text_of(secret, "stringData")?,
        replicas: &deployment.of_kind("Deployment")?["spec"]["replicas"],
        pod: &running["spec"]["template"]["spec"],
    };
    let mut rights = String::new();
    for object in daemon_set.of_kinds(&RIGHTS) {
        rights.push_str("---\n");
        rights.push_str(&Template::of(object).text()?);
    }
    let budget = Template::of(deployment.of_kind("PodDisruptionBudget")?).text()?;
    let deployment = workload(deployment.of_kind("Deployment")?, provider)?;
    let daemon_set_only = "{{- if eq .Values.workload \"daemonset\" }}";
    let deployment_only = "{{- if eq .Values.workload \"deployment\" }}";
    let two_or_more = "{{- if gt (int .Values.replicas) 1 }}";
    let templates = [
        ("checks.yaml", CHECKS.replace(OWN_VARIABLES, &own_variables(running)?)),
        ("rights.yaml", rights),
        ("service-account.yaml", service_account(daemon_set.of_kind("ServiceAccount")?)?),
        ("config.yaml", settings(config)?),
        (
            "credentials.yaml",
            format!(
                "{{{{- if not .Values.existingSecret }}}}\n{}{{{{- end }}}}\n",
                credentials(secret)?
            ),
        ),
        (
            "daemon-set.yaml",
            format!("{daemon_set_only}\n{}{{{{- end }}}}\n", workload(running, provider)?),
        ),
        (
            "deployment.yaml",
            format!(
                "{deployment_only}\n{deployment}{two_or_more}\n---\n{budget}{{{{- end }}}}\n{{{{- end }}}}\n"
            ),
        ),
    ];
    let file = |name: &str| format!("helm/{provider}/{name}").into();
    let mut files: Files =
        templates.map(|(name, text)| (file(&format!("templates/{name}")), text)).into();
    files.insert(file("Chart.yaml"), values::chart(provider));
    files.insert(file("values.yaml"), values.text()?);
    files.insert(file("values.schema.json"), SCHEMA.to_owned());
    files.insert(file("README.md"), values.readme()?);
    Ok(files)
}

/// The key and the text of the one file in a `ConfigMap` or `Secret`.
fn text_of<'a>(object: &'a Value, data: &str) -> Result<(&'a str, &'a str), Error> {
    let files = object[data].as_object().ok_or("no data")?;
    let mut files = files.iter().filter_map(|(name, text)| Some((&**name, text.as_str()?)));
    match (files.next(), files.next()) {
        (Some(file), None) => Ok(file),
        _ => Err(format!("{object} has not one file").into()),
    }
}

/// The names of the container's environment variables, as helm has strings.
fn own_variables(workload: &Value) -> Result<String, Error> {
    let variables = workload.pointer(&format!("{CONTAINER}/env")).and_then(Value::as_array);
    let variables = variables.ok_or("the container has no environment variables")?;
    let names: Vec<_> = variables.iter().map(|it| it["name"].to_string()).collect();
    Ok(names.join(" "))
}

fn service_account(object: &Value) -> Result<String, Error> {
    let mut template = Template::of(object);
    template.insert("/metadata", &with("serviceAccount.annotations", "annotations"))?;
    template.text()
}

fn settings(object: &Value) -> Result<String, Error> {
    let (file, _) = text_of(object, "data")?;
    let mut template = Template::of(object);
    template.replace("/data", &file_of("config", file))?;
    for (value, key) in [("host", "apiServerHost"), ("port", "apiServerPort")] {
        let block = format!(
            "{{{{- with .Values.apiServer.{value} }}}}\n{key}: {{{{ . | toString | quote }}}}\n{{{{- end }}}}"
        );
        template.insert("/data", &block)?;
    }
    template.text()
}

fn credentials(object: &Value) -> Result<String, Error> {
    let (file, _) = text_of(object, "stringData")?;
    let mut template = Template::of(object);
    template.replace("/stringData", &file_of("credentials", file))?;
    template.text()
}

/// The text of a value as a file.
fn file_of(value: &str, file: &str) -> String {
    format!("{file}: |\n  {{{{- .Values.{value} | nindent INDENT+2 }}}}")
}

/// A key with the value of that name, unless it is empty.
fn with(value: &str, key: &str) -> String {
    format!(
        "{{{{- with .Values.{value} }}}}\n{key}:\n  {{{{- toYaml . | nindent INDENT+2 }}}}\n{{{{- end }}}}"
    )
}

/// The entries of a list, behind those that are there.
fn entries(value: &str) -> String {
    format!("{{{{- with .Values.{value} }}}}\n{{{{- toYaml . | nindent INDENT }}}}\n{{{{- end }}}}")
}

fn workload(object: &Value, provider: &str) -> Result<String, Error> {
    let mut template = Template::of(object);
    if !object["spec"]["replicas"].is_null() {
        template.set("/spec/replicas", "{{ .Values.replicas }}")?;
    }
    template.insert("/spec/template/metadata", &with("podAnnotations", "annotations"))?;
    template.insert(POD, &with("imagePullSecrets", "imagePullSecrets"))?;
    template.insert(POD, &with("nodeSelector", "nodeSelector"))?;
    template.set(&format!("{POD}/priorityClassName"), "{{ .Values.priorityClassName | quote }}")?;
    template.append(&format!("{POD}/tolerations"), &entries("tolerations"))?;
    template.append(&format!("{POD}/volumes"), &entries("extraVolumes"))?;
    if object["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"].is_null() {
        // With its only key the whole would have to go.
        template.remove(&format!("{POD}/affinity"))?;
        template.insert(POD, NODE_AFFINITY)?;
    } else {
        template.remove(&format!("{POD}/affinity/nodeAffinity"))?;
        template.insert(&format!("{POD}/affinity"), &with("nodeAffinity", "nodeAffinity"))?;
    }
    template.set(
        &format!("{POD}/volumes/1/secret/secretName"),
        &format!("{{{{ .Values.existingSecret | default \"{provider}-cloud-controller-manager\" | quote }}}}"),
    )?;
    template.set(
        &format!("{CONTAINER}/image"),
        "{{ .Values.image.name | default (printf \"%s:%s\" .Values.image.repository .Values.image.tag) | quote }}",
    )?;
    template.append(
        &format!("{CONTAINER}/args"),
        "{{- range .Values.extraArgs }}\n- {{ . | quote }}\n{{- end }}",
    )?;
    template.append(&format!("{CONTAINER}/env"), &entries("env"))?;
    template.append(&format!("{CONTAINER}/volumeMounts"), &entries("extraVolumeMounts"))?;
    template.remove(&format!("{CONTAINER}/resources"))?;
    template.insert(CONTAINER, &with("resources", "resources"))?;
    template.text()
}
