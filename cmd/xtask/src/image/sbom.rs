//! The list of what is in the program, for programs that look for known flaws.

use std::collections::{BTreeMap, BTreeSet};

use cyclonedx_bom::models::bom::{Bom, SpecVersion, UrnUuid};
use cyclonedx_bom::models::component::{Classification, Component, Components, Scope};
use cyclonedx_bom::models::dependency::{Dependencies, Dependency};
use cyclonedx_bom::models::hash::{Hash, HashAlgorithm, HashValue, Hashes};
use cyclonedx_bom::models::license::{LicenseChoice, Licenses};
use cyclonedx_bom::models::metadata::Metadata;
use cyclonedx_bom::prelude::Validate as _;

use super::libraries::Library;
use super::licences::expression;
use super::linked::{Crate, Id, Linked};
use super::{NAME, layer};
use crate::Error;

/// `CycloneDX` 1.5 as JSON. It names no time, and its number follows from what it lists.
pub(super) fn write(linked: &Linked) -> Result<Vec<u8>, Error> {
    let program = linked.crates.iter().find(|krate| krate.id.0 == NAME);
    let program = program.ok_or_else(|| format!("{NAME} is not among what is linked"))?;
    let mut components = Vec::new();
    let mut dependencies = Vec::new();
    let crates = linked.crates.iter().chain([&linked.certificates]);
    let references: BTreeMap<&Id, String> =
        crates.map(|krate| (&krate.id, reference(krate))).collect();
    for krate in &linked.crates {
        let uses = krate.uses.iter().filter_map(|id| references.get(id).cloned());
        let mut uses: BTreeSet<String> = uses.collect();
        let is_program = krate.id == program.id;
        let of_it = |library: &&Library| match &library.inside {
            Some(id) => *id == krate.id,
            None => is_program,
        };
        uses.extend(linked.libraries.iter().filter(of_it).map(|library| library.purl.clone()));
        if is_program {
            uses.insert(reference(&linked.certificates));
        } else {
            components.push(component(krate, Classification::Library)?);
        }
        dependencies.push(Dependency {
            dependency_ref: reference(krate),
            dependencies: uses.into_iter().collect(),
        });
    }
    components.push(component(&linked.certificates, Classification::Data)?);
    for library in &linked.libraries {
        let name = library.name;
        let purl = Some(library.purl.clone());
        let mut component = Component::new(Classification::Library, name, &library.version, purl);
        component.purl = Some(library.purl.parse().map_err(|()| "not a package URL")?);
        component.licenses = Some(licences(&library.licence));
        components.push(component);
    }
    let mut bom = Bom {
        serial_number: None,
        metadata: Some(Metadata {
            component: Some(component(program, Classification::Application)?),
            ..Metadata::default()
        }),
        components: Some(Components(components)),
        dependencies: Some(Dependencies(dependencies)),
        ..Bom::default()
    };
    bom.serial_number = Some(number(&json(bom.clone())?)?);
    let valid = bom.validate_version(SpecVersion::V1_5);
    if !valid.passed() {
        let wrong: Vec<_> = valid.errors().map(|(at, error)| format!("{at}: {error:?}")).collect();
        return Err(format!("the SBOM is not valid: {}", wrong.join("; ")).into());
    }
    json(bom)
}

fn json(bom: Bom) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    bom.output_as_json_v1_5(&mut text)?;
    text.push(b'\n');
    Ok(text)
}

fn component(krate: &Crate, class: Classification) -> Result<Component, Error> {
    let (name, version) = &krate.id;
    let mut component = Component::new(class, name, version, Some(reference(krate)));
    component.scope = Some(Scope::Required);
    component.purl = Some(reference(krate).parse().map_err(|()| "not a package URL")?);
    if let Some(licence) = &krate.licence {
        component.licenses = Some(licences(&expression(licence)?));
    }
    component.hashes = krate.checksum.as_ref().map(|checksum| {
        let content = HashValue(checksum.clone());
        Hashes(vec![Hash { alg: HashAlgorithm::SHA_256, content }])
    });
    Ok(component)
}

fn licences(expression: &str) -> Licenses {
    Licenses(vec![LicenseChoice::expression(expression)])
}

/// A crate's package URL, by which the document's own parts name it too. Ours are in no registry, and one that is there
/// under the same name is another's. <https://github.com/package-url/purl-spec/blob/main/types-doc/cargo-definition.md>
fn reference(krate: &Crate) -> String {
    let (name, version) = &krate.id;
    // `+` begins what is only said about a version.
    let version = version.replace('+', "%2B");
    let kind = if krate.is_ours() { "generic/ccm-rs" } else { "cargo" };
    format!("pkg:{kind}/{name}@{version}")
}

/// A number that follows from the content: a UUID of the version that is for such.
fn number(content: &[u8]) -> Result<UrnUuid, Error> {
    let hex = layer::hex(content);
    let uuid = format!(
        "urn:uuid:{}-{}-8{}-8{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..15],
        &hex[15..18],
        &hex[18..30]
    );
    UrnUuid::new(uuid).map_err(|err| format!("{err:?}").into())
}
