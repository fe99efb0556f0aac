"""Where a step finds files: Vertex AI mounts the objects of Cloud Storage as files."""


def local_path(uri: str) -> str:
    """Return the path of a file or a gs:// address, which the service mounts below /gcs."""
    return f"/gcs/{uri.removeprefix('gs://')}" if uri.startswith("gs://") else uri
