"""Optional packages are asked for in one place, and importing medframe asks for none."""

import subprocess
import sys

import pytest

from medframe.base import MissingPackage
from medframe.base.extras import has, install_line, known_extras, need
from medframe.base.fingerprint import code_version, file_identity, fingerprint


def test_a_present_package_is_imported():
    assert need("math", "count").pi > 3


def test_an_absent_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "nilearn", None)
    with pytest.raises(MissingPackage, match=r"needed to load the demo.*pip install 'medframe\[demo\]'"):
        need("nilearn", "load the demo's data")
    with pytest.raises(MissingPackage, match="pip install no_such_package_at_all"):
        need("no_such_package_at_all", "do nothing")


def test_lines_and_presence():
    assert install_line("yaml") == "pip install PyYAML"
    assert has("torch")
    assert not has("no_such_package_at_all")
    assert known_extras()["tensorboard"] == "track"


def test_importing_medframe_pulls_in_nothing_heavy():
    code = (
        "import sys, medframe; assert 'torch' not in sys.modules;"
        "import medframe.transforms, medframe.networks, medframe.kernels;"
        "heavy = {'nibabel', 'ignite', 'pydicom', 'itk', 'matplotlib', 'scipy.ndimage', 'yaml', 'nilearn'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_gpu_machine_without_readers_can_import_what_it_needs():
    code = (
        "import sys\n"
        "for name in ('nibabel', 'pydicom', 'itk', 'ignite', 'isal', 'yaml', 'tqdm', 'safetensors', 'matplotlib'):\n"
        "    sys.modules[name] = None\n"
        "import torch, medframe.kernels, medframe.transforms, medframe.networks\n"
        "from medframe.transforms import Rotate\n"
        "print(tuple(Rotate(10)(torch.rand(1, 6, 6, 6)).shape))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(1, 6, 6, 6)", done.stderr


def test_fingerprints_tell_values_files_and_code_apart(tmp_path):
    assert fingerprint("a", 1) == fingerprint("a", 1)
    assert fingerprint("a", 1) != fingerprint("a", "1")
    path = tmp_path / "x"
    path.write_bytes(b"a" * 200_000)
    first = file_identity(path)
    path.write_bytes(b"b" + b"a" * 199_999)
    assert file_identity(path) != first

    class A:
        x = 1

    class B(A):
        x = 2

    assert code_version(A) != code_version(B)
