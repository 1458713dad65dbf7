"""What the framework keeps of the files that were uploaded."""
from __future__ import annotations

from streamlit.runtime import get_instance


def by_visit(visit: str) -> int:
    """Bytes of the files of a visit, which are kept until it ends; 0 for one that there is not."""
    files = get_instance().uploaded_file_mgr.file_storage.get(visit, {})
    return sum(len(file.data) for file in list(files.values()))
