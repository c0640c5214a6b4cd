"""The settings file that `lockwatch edge init` writes: every option, with what it means."""

from __future__ import annotations

from typing import Final

TEMPLATE: Final = """\
# lockwatch edge. Paths may be relative to this file. What begins with "# " and a name is optional
# and shows its default, or an example. `lockwatch edge check` tries everything that is set here.

# --- This edge ----------------------------------------------------------------------------------
data_dir = "data"                 # journal, spool, keys; needs room for a day of studies
bundle = "bundle"                 # the device's locked bundle, as delivered
trusted_keys = []                 # the manufacturer's release keys, 64 hex digits each
# signature_threshold = 1         # how many of them must have signed
# minimum_release = 0             # refuse bundles with a lower release counter
site_timezone = "Europe/Berlin"   # days are this zone's days

# --- In: scanners and PACS ----------------------------------------------------------------------
ae_title = "LOCKWATCH"
host = "127.0.0.1"                # the address that scanners and the PACS reach
port = 11112
allowed_ae_titles = []            # who may send; at least one
# allowed_addresses = ["10.1.0.0/16"]  # from where; none listed: from anywhere
# tls_certificate = "edge.crt"    # TLS: certificate chain and key, PEM
# tls_key = "edge.key.pem"
# tls_ca = "hospital-ca.crt"      # scanners must show a certificate of this authority
# maximum_associations = 20
# largest_object_mb = 512
# free_disk_mb = 200              # below this much free space, senders are told to wait
# storescp_port = 11113           # dcmtk's storescp as a second receiver, unguarded: see the docs
# storescp_program = "/usr/bin/storescp"
# study_quiet_seconds = 0.0       # hold a study's objects until nothing came for so long; 0: do not
# study_objects = 0               # ... or until it has so many; 0: not known
# watched_folder = "incoming"     # DICOM files dropped here are taken and removed

# commitment_peers = [{ host = "10.1.2.3", port = 104, ae = "CT1" }]  # who may ask for commitment
# query_peer = { host = "10.1.2.9", port = 104, ae = "PACS" }  # a PACS to ask for studies
# query_retrieve = "get"          # or "move": then the PACS sends to host and port above
# query_url = "https://pacs.example/dicom-web"  # or a DICOMweb service (QIDO-RS, WADO-RS)
# query_ca = "hospital-ca.crt"    # who signed its certificate, if this system does not know them
# query_authorization_file = "pacs-authorization"  # holds "Basic ..." or "Bearer ...", if it asks
# query_minutes = 15.0            # how often
# query_lookback_days = 3         # how late a study may reach the PACS
# query_modalities = ["DX", "CR"]
# query_sop_classes = ["1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.1"]

# upload_port = 8475              # a page where people upload DICOM files and JPEGs of cameras
# upload_host = "127.0.0.1"       # for other machines: an address here, and the next three
# upload_certificate = "edge.crt"
# upload_key = "edge.key.pem"
# upload_password_file = "upload-password"  # 20 characters or more; any user name
# upload_cameras = { room1 = { kind = "fundus", manufacturer = "Maker", model = "F-1" } }
#                                 kind: "fundus" or "skin"; software and serial may be added

# --- Inference ----------------------------------------------------------------------------------
# workers = 1                     # processes that run the chain
# case_seconds = 60.0             # a case that takes longer fails, and only it
# memory_mb = 6144                # of each worker

# --- Out: the clinic ----------------------------------------------------------------------------
results_folder = "results"        # sr/, sc/, pr/ and priority/ below it
# results_peer = { host = "10.1.2.9", port = 104, ae = "PACS" }  # what is DICOM (C-STORE)
# results_hl7 = { host = "10.1.2.8", port = 2575 }               # priority messages (MLLP)
# results_ups = { host = "10.1.2.7", port = 104, ae = "WORKLIST" }  # priority as work items (UPS)

# --- Reads ---------------------------------------------------------------------------------------
label_inbox = "labels"            # CSV files with reference reads; see docs/operations/hospital.md
# label_policies = ["policy-2026"]  # labelling policies whose names may leave
# reader_groups = { "Dr A" = "thorax" }  # readers by group; only the group leaves

# --- Out: the manufacturer -----------------------------------------------------------------------
central_url = "https://lockwatch.example"
# audience = "https://lockwatch.example"  # if the service calls itself otherwise
# central_keys = []               # pin the keys of its receipts, 64 hex digits each
enrolment_code_file = "enrolment-code"
# watermark_hours = 24            # how long a day stays open for late cases
# k = 11                          # smallest cell that leaves; may be raised, never lowered
# minimum_n = 20                  # smallest stratum that leaves; the same
# noise_epsilon = 8.0             # add noise: what one case's measurements may give away, at
#                                 delta 1e-6; not set: no noise. What it costs is in the docs
# retention_days = 30             # how long what left is kept readable here

# --- For people on this machine ------------------------------------------------------------------
status_port = 8474                # a read-only page: http://127.0.0.1:8474
# status_host = "127.0.0.1"       # leave it, unless the network is yours alone
"""
