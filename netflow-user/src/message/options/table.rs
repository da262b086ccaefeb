//! The Options Templates there are, with their ids: those of a table that collectors were tested with.

use crate::message::InformationElement as E;

use super::{OptionsField, OptionsTemplate};

/// v9 has its totals in fewer octets, as collectors know them.
const fn reduced(element: E, length: u16) -> OptionsField {
    OptionsField { id: element.id(), name: element.name(), length }
}

const fn field(element: E, length: u16) -> OptionsField {
    if let Some(full) = element.data_type().length() {
        assert!(length == full, "options data have no reduced sizes (TPL-RULE-10)");
    }
    OptionsField { id: element.id(), name: element.name(), length }
}

const fn text(element: E) -> OptionsField {
    field(element, OptionsField::VARIABLE)
}

/// v9 scope type 1, the exporter itself (RFC 3954 section 6.1).
const SYSTEM: OptionsField = OptionsField { id: 1, name: "scope System", length: 4 };

const fn template(id: u16, scopes: usize, fields: &'static [OptionsField]) -> OptionsTemplate {
    OptionsTemplate { id, scopes, fields, shares_set: true }
}

/// Alone in its template: some collectors do not know it together with others (TPL-RULE-9).
pub(super) static SAMPLING: OptionsTemplate =
    template(516, 1, &[field(E::OBSERVATION_DOMAIN_ID, 4), field(E::SAMPLING_INTERVAL, 4)]);

/// RFC 7011 section 4.1, with the timeouts.
pub(super) static METERING: OptionsTemplate = template(
    512,
    2,
    &[
        field(E::OBSERVATION_DOMAIN_ID, 4),
        field(E::METERING_PROCESS_ID, 4),
        field(E::EXPORTED_MESSAGE_TOTAL_COUNT, 8),
        field(E::EXPORTED_FLOW_RECORD_TOTAL_COUNT, 8),
        field(E::EXPORTED_OCTET_TOTAL_COUNT, 8),
        field(E::OBSERVED_FLOW_TOTAL_COUNT, 8),
        field(E::FLOW_ACTIVE_TIMEOUT, 2),
        field(E::FLOW_IDLE_TIMEOUT, 2),
    ],
);

/// RFC 7011 section 4.2. Both times are 0 where nothing was ignored (STAT-TIME-1).
pub(super) static METERING_RELIABILITY: OptionsTemplate = template(
    513,
    2,
    &[
        field(E::OBSERVATION_DOMAIN_ID, 4),
        field(E::METERING_PROCESS_ID, 4),
        field(E::IGNORED_PACKET_TOTAL_COUNT, 8),
        field(E::IGNORED_OCTET_TOTAL_COUNT, 8),
        field(E::OBSERVATION_TIME_MILLISECONDS, 8),
        field(E::OBSERVATION_TIME_MILLISECONDS, 8),
    ],
);

/// RFC 7011 section 4.3. Both times are 0 where everything was sent.
pub(super) static EXPORTING_RELIABILITY: OptionsTemplate = template(
    514,
    1,
    &[
        field(E::EXPORTING_PROCESS_ID, 4),
        field(E::NOT_SENT_FLOW_TOTAL_COUNT, 8),
        field(E::NOT_SENT_PACKET_TOTAL_COUNT, 8),
        field(E::NOT_SENT_OCTET_TOTAL_COUNT, 8),
        field(E::OBSERVATION_TIME_MILLISECONDS, 8),
        field(E::OBSERVATION_TIME_MILLISECONDS, 8),
    ],
);

/// By which a collector sees that the exporter was started anew.
pub(super) static SYSTEM_START: OptionsTemplate =
    template(523, 1, &[field(E::OBSERVATION_DOMAIN_ID, 4), field(E::SYSTEM_INIT_TIME_MILLISECONDS, 8)]);

/// RFC 7011 section 4.4.
pub(super) static FLOW_KEYS: OptionsTemplate =
    template(515, 1, &[field(E::TEMPLATE_ID, 2), field(E::FLOW_KEY_INDICATOR, 8)]);

/// RFC 5476 section 6.5.2.1.
pub(super) static COUNT_SELECTOR: OptionsTemplate = template(
    517,
    1,
    &[
        field(E::SELECTOR_ID, 8),
        field(E::SELECTOR_ALGORITHM, 2),
        field(E::SAMPLING_PACKET_INTERVAL, 4),
        field(E::SAMPLING_PACKET_SPACE, 4),
    ],
);

/// RFC 5476 section 6.5.2.4.
pub(super) static RANDOM_SELECTOR: OptionsTemplate = template(
    518,
    1,
    &[field(E::SELECTOR_ID, 8), field(E::SELECTOR_ALGORITHM, 2), field(E::SAMPLING_PROBABILITY, 8)],
);

/// RFC 7014 section 7.1: of flows, not of packets.
pub(super) static FLOW_SELECTOR: OptionsTemplate = template(
    526,
    1,
    &[field(E::SELECTOR_ID, 8), field(E::FLOW_SELECTOR_ALGORITHM, 2), field(E::SAMPLING_PROBABILITY, 8)],
);

/// RFC 5476 section 6.5.1. The selector sees every interface of the domain, so that the domain stands for the Observation
/// Point: with ingressInterface collectors take it for a table of interfaces (TPL-RULE-11).
pub(super) static SELECTION_SEQUENCE: OptionsTemplate = template(
    527,
    1,
    &[field(E::SELECTION_SEQUENCE_ID, 8), field(E::OBSERVATION_DOMAIN_ID, 4), field(E::SELECTOR_ID, 8)],
);

/// RFC 5476 section 6.5.3.
pub(super) static SELECTION_STATISTICS: OptionsTemplate = template(
    521,
    1,
    &[
        field(E::SELECTION_SEQUENCE_ID, 8),
        field(E::SELECTOR_ID_TOTAL_PKTS_OBSERVED, 8),
        field(E::SELECTOR_ID_TOTAL_PKTS_SELECTED, 8),
    ],
);

pub(super) static INTERFACES: OptionsTemplate = OptionsTemplate {
    shares_set: false,
    ..template(
        522,
        1,
        &[
            field(E::OBSERVATION_DOMAIN_ID, 4),
            field(E::INGRESS_INTERFACE, 4),
            field(E::INTERFACE_NAME, 32),
            field(E::INTERFACE_DESCRIPTION, 64),
        ],
    )
};

/// By which people know the exporter.
pub(super) static EXPORTER_NAME: OptionsTemplate =
    template(528, 1, &[field(E::OBSERVATION_DOMAIN_ID, 4), text(E::OBSERVATION_DOMAIN_NAME)]);

/// RFC 5610 section 3.9.
pub(super) static ELEMENT_TYPES: OptionsTemplate = OptionsTemplate {
    shares_set: false,
    ..template(
        524,
        2,
        &[
            field(E::INFORMATION_ELEMENT_ID, 2),
            field(E::PRIVATE_ENTERPRISE_NUMBER, 4),
            field(E::INFORMATION_ELEMENT_DATA_TYPE, 1),
            field(E::INFORMATION_ELEMENT_SEMANTICS, 1),
            field(E::INFORMATION_ELEMENT_UNITS, 2),
            field(E::INFORMATION_ELEMENT_RANGE_BEGIN, 8),
            field(E::INFORMATION_ELEMENT_RANGE_END, 8),
            text(E::INFORMATION_ELEMENT_NAME),
            text(E::INFORMATION_ELEMENT_DESCRIPTION),
        ],
    )
};

/// RFC 6235 section 6.1.
pub(super) static ANONYMISATION: OptionsTemplate = template(
    525,
    2,
    &[
        field(E::TEMPLATE_ID, 2),
        field(E::INFORMATION_ELEMENT_ID, 2),
        field(E::ANONYMIZATION_FLAGS, 2),
        field(E::ANONYMIZATION_TECHNIQUE, 2),
    ],
);

pub(super) static V9_SAMPLING: OptionsTemplate = template(512, 1, &[SYSTEM, field(E::SAMPLING_INTERVAL, 4)]);

pub(super) static V9_INTERFACES: OptionsTemplate = OptionsTemplate {
    shares_set: false,
    ..template(
        513,
        1,
        &[
            SYSTEM,
            field(E::INGRESS_INTERFACE, 4),
            field(E::INTERFACE_NAME, 32),
            field(E::INTERFACE_DESCRIPTION, 64),
        ],
    )
};

/// Totals of the exporter.
pub(super) static V9_TOTALS: OptionsTemplate = template(
    514,
    1,
    &[
        SYSTEM,
        reduced(E::EXPORTED_MESSAGE_TOTAL_COUNT, 4),
        reduced(E::EXPORTED_FLOW_RECORD_TOTAL_COUNT, 4),
        field(E::EXPORTED_OCTET_TOTAL_COUNT, 8),
        field(E::FLOW_ACTIVE_TIMEOUT, 2),
        field(E::FLOW_IDLE_TIMEOUT, 2),
    ],
);

/// Those of IPFIX.
#[cfg(test)]
pub(super) static IPFIX: [&OptionsTemplate; 15] = [
    &METERING,
    &METERING_RELIABILITY,
    &EXPORTING_RELIABILITY,
    &SYSTEM_START,
    &SAMPLING,
    &FLOW_KEYS,
    &COUNT_SELECTOR,
    &RANDOM_SELECTOR,
    &FLOW_SELECTOR,
    &SELECTION_SEQUENCE,
    &SELECTION_STATISTICS,
    &INTERFACES,
    &EXPORTER_NAME,
    &ELEMENT_TYPES,
    &ANONYMISATION,
];
