//! Volumes of labels as a structured report: an Imaging Measurement Report (TID 1500) with a measurement group (TID 1501) for
//! each label.

use super::{Derived, LabelVolume, Source, short};
use crate::segmentation::codes::{self, Code};
use crate::segmentation::shared::{coded, item, sequence, text};
use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;

const fn dcm(value: &'static str, meaning: &'static str) -> Code<'static> {
    Code { scheme: "DCM", value, meaning }
}

const VOLUME: Code = Code { scheme: "SCT", value: "118565006", meaning: "Volume" };
const MILLILITRE: Code = Code { scheme: "UCUM", value: "mL", meaning: "milliliter" };
const ENGLISH: Code = Code { scheme: "RFC5646", value: "en-US", meaning: "English (United States)" };
const PROCEDURE: Code = Code { scheme: "SCT", value: "363679005", meaning: "Imaging procedure" };

/// An item of the document's tree.
fn node(relation: &str, kind: &str, name: &Code) -> InMemDicomObject {
    let mut o = item([text(tags::VALUE_TYPE, VR::CS, kind), coded(tags::CONCEPT_NAME_CODE_SEQUENCE, name)]);
    if !relation.is_empty() {
        o.put(text(tags::RELATIONSHIP_TYPE, VR::CS, relation));
    }
    o
}

fn code(relation: &str, name: Code, value: &Code) -> InMemDicomObject {
    let mut o = node(relation, "CODE", &name);
    o.put(coded(tags::CONCEPT_CODE_SEQUENCE, value));
    o
}

fn words(name: Code, value: &str) -> InMemDicomObject {
    let mut o = node("HAS OBS CONTEXT", "TEXT", &name);
    o.put(text(tags::TEXT_VALUE, VR::UT, value));
    o
}

fn uid(name: Code, value: &str) -> InMemDicomObject {
    let mut o = node("HAS OBS CONTEXT", "UIDREF", &name);
    o.put(text(tags::UID, VR::UI, value));
    o
}

fn container(relation: &str, name: Code, content: Vec<InMemDicomObject>) -> InMemDicomObject {
    let mut o = node(relation, "CONTAINER", &name);
    o.put(text(tags::CONTINUITY_OF_CONTENT, VR::CS, "SEPARATE"));
    o.put(sequence(tags::CONTENT_SEQUENCE, content));
    o
}

/// The template that a container follows.
fn template(o: &mut InMemDicomObject, number: &str) {
    let one =
        item([text(tags::MAPPING_RESOURCE, VR::CS, "DCMR"), text(tags::TEMPLATE_IDENTIFIER, VR::CS, number)]);
    o.put(sequence(tags::CONTENT_TEMPLATE_SEQUENCE, vec![one]));
}

fn group(d: &Derived, source: &Source, v: &LabelVolume) -> InMemDicomObject {
    let mut volume = node("CONTAINS", "NUM", &VOLUME);
    let mut value = item([coded(tags::MEASUREMENT_UNITS_CODE_SEQUENCE, &MILLILITRE)]);
    value.put(text(tags::NUMERIC_VALUE, VR::DS, &format!("{:.6}", v.ml)));
    volume.put(sequence(tags::MEASURED_VALUE_SEQUENCE, vec![value]));
    let name = short(v.name);
    let [_, finding] = codes::of(&name);
    let content = vec![
        words(dcm("112039", "Tracking Identifier"), &name),
        uid(dcm("112040", "Tracking Unique Identifier"), &d.uid_of(&format!("label {name}"), source)),
        code("CONTAINS", dcm("121071", "Finding"), &finding),
        volume,
    ];
    let mut group = container("CONTAINS", dcm("125007", "Measurement Group"), content);
    template(&mut group, "1501");
    group
}

pub(super) fn object(d: &Derived, source: &Source, volumes: &[LabelVolume]) -> InMemDicomObject {
    let mut o = d.begun(source, uids::COMPREHENSIVE_SR_STORAGE, "SR", "Volumes", 9100);
    let groups = volumes.iter().map(|v| group(d, source, v)).collect();
    let device = [short("Ampoule"), short(&format!("{} {}", d.model, d.version))];
    let content = vec![
        code("HAS CONCEPT MOD", dcm("121049", "Language of Content Item and Descendants"), &ENGLISH),
        code("HAS OBS CONTEXT", dcm("121005", "Observer Type"), &dcm("121007", "Device")),
        uid(dcm("121012", "Device Observer UID"), &d.uid_of("device", source)),
        words(dcm("121013", "Device Observer Name"), &device[0]),
        words(dcm("121015", "Device Observer Model Name"), &device[1]),
        code("HAS CONCEPT MOD", dcm("121058", "Procedure reported"), &PROCEDURE),
        container("CONTAINS", dcm("126010", "Imaging Measurements"), groups),
    ];
    for element in container("", dcm("126000", "Imaging Measurement Report"), content) {
        o.put(element);
    }
    template(&mut o, "1500");
    for (tag, value) in [
        (tags::COMPLETION_FLAG, "COMPLETE"),
        (tags::VERIFICATION_FLAG, "UNVERIFIED"),
        (tags::PRELIMINARY_FLAG, "FINAL"),
    ] {
        o.put(text(tag, VR::CS, value));
    }
    o.put(sequence(tags::PERFORMED_PROCEDURE_CODE_SEQUENCE, Vec::new()));
    o.put(sequence(tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE, Vec::new()));
    o.put(sequence(tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, vec![source.evidence()]));
    o
}
