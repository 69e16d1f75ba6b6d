"""Dangerous acts have one owner each: the source of medframe is read, and raw calls elsewhere fail the suite."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "medframe"
MODULES = sorted(p for p in ROOT.rglob("*.py") if "cuda_ext" not in p.parts)

# call -> files that may make it (relative to medframe/)
FORBIDDEN = {
    "pickle.load": (),
    "pickle.loads": (),
    "pickle.dump": (),
    "pickle.dumps": ("data/guard.py",),  # asks whether an error pickles; what it makes is thrown away
    "torch.load": ("base/tensor_files.py",),  # with weights_only, after the size is checked
    "torch.save": (),
    "torch.jit.load": (),
    "joblib.load": (),
    "shelve.open": (),
    "marshal.loads": (),
    "eval": (),
    "exec": (),
    "compile": (),
    "__import__": (),
    "os.system": (),
    "os.popen": (),
    "yaml.load": (),
    "yaml.unsafe_load": (),
    "logging.config.fileConfig": (),
    "shutil.unpack_archive": (),
    "os.rename": (),
    "os.replace": ("base/files.py",),
    "np.save": (),
    "np.savez": (),
    "np.random.seed": (),
    # dropout is seeded by the step's number, weights by the run's seed; both leave torch's own state as it was
    "torch.manual_seed": ("engines/steps.py", "engines/precision.py", "plan/pipeline.py"),
    "random.seed": (),
    "np.random.default_rng": (),
    "np.random.Generator": ("base/rng.py",),
    # chance within a network is torch's own, as dropout's is: a step seeds it, and `torch.manual_seed` repeats it
    "torch.rand": (
        "networks/blocks/drop_path.py",
        "networks/nets/mae_vit.py",
        "networks/schedulers/rectified_flow.py",
    ),
    "torch.randn": (
        "networks/nets/vqvae.py",
        "networks/schedulers/noise.py",
        "networks/schedulers/rectified_flow.py",
    ),
    "torch.randint": (),
}
FORBIDDEN_METHODS = {
    "extractall": (),
    "extractfile": ("base/archives.py",),
    "symlink_to": (),
    "write_text": (),  # of a path: half a file under a final name
    "write_bytes": (),
    "torch_load": (),
}
FORBIDDEN_IMPORTS = {
    "tarfile",
    "zipfile",
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "random",
    "secrets",
}
IMPORT_OWNERS = {
    "pickle": ("data/guard.py",),
    "tarfile": ("base/archives.py",),
    "zipfile": ("base/archives.py", "base/tensor_files.py", "io/arrays.py"),
    "secrets": ("base/rng.py", "base/files.py"),
}
OPTIONAL = {"ignite", "nibabel", "pydicom", "itk", "matplotlib", "nilearn", "yaml", "tqdm", "tensorboard", "cupy"}
OPTIONAL |= {"PIL", "tifffile", "openslide", "zarr"}


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return "?"


def offences(path: Path, relative: str) -> list[str]:
    found = []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and dotted(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Call):
            name = dotted(node.func).replace("numpy.", "np.")
            if name in FORBIDDEN and relative not in FORBIDDEN[name]:
                found.append(f"{relative}:{line} calls {name}")
            # our own functions are called by name, so an attribute of this name is the raw method of a path or archive
            method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            if method in FORBIDDEN_METHODS and relative not in FORBIDDEN_METHODS[method]:
                found.append(f"{relative}:{line} calls .{method}")
            if name == "open" and relative not in ("base/files.py", "base/archives.py"):
                mode = (
                    node.args[1]
                    if len(node.args) > 1
                    else next((k.value for k in node.keywords if k.arg == "mode"), None)
                )
                if mode is not None and not (isinstance(mode, ast.Constant) and set(mode.value) <= set("rbt")):
                    found.append(f"{relative}:{line} opens a file for writing")
            if name.endswith("subprocess.run") or name.endswith("Popen"):
                found += [f"{relative}:{line} uses a shell" for k in node.keywords if k.arg == "shell"]
            if any(k.arg == "allow_pickle" for k in node.keywords):
                found.append(f"{relative}:{line} allows pickle")
        if isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in typing_only:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            for name in names:
                top = name.partition(".")[0]
                if top in FORBIDDEN_IMPORTS and relative not in IMPORT_OWNERS.get(top, ()):
                    found.append(f"{relative}:{line} imports {top}")
                if top in OPTIONAL:
                    found.append(f"{relative}:{line} imports {top} without need()")
    return found


def test_no_raw_call_outside_its_owner():
    found = [o for path in MODULES for o in offences(path, path.relative_to(ROOT).as_posix())]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "torch.load('x')",
        "eval('1')",
        "open('x', 'w')",
        "open('x', mode='ab')",
        "archive.extractall('.')",
        "archive.extractfile(member)",
        "import zipfile",
        "from tarfile import open",
        "Path('x').write_text('a')",
        "np.load('x', allow_pickle=True)",
        "subprocess.run('ls', shell=True)",
        "numpy.random.default_rng(0)",
        "import yaml",
    ],
)
def test_the_reader_sees_what_it_looks_for(tmp_path, source):
    path = tmp_path / "module.py"
    path.write_text(source)
    assert offences(path, "some/module.py")


def test_no_file_is_named_for_nothing():
    names = {"utils", "util", "misc", "common", "helpers", "helper"}
    assert [p for p in MODULES if p.stem in names or p.parent.name in names] == []
