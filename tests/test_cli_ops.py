"""`sparsec ops` and the page that it generates."""

from pathlib import Path

import pytest

from sparsec.cli.main import main
from sparsec.cli.ops import functions, markdown, methods, numpy_version
from sparsec.ir.ops.record import REGISTRY
from tests.conftest import check_golden

PAGE = Path(__file__).parents[1] / "docs" / "numpy.md"


def test_the_page_is_up_to_date(request):
    bless = request.config.getoption("--bless")
    if not bless and f"NumPy {numpy_version()};" not in PAGE.read_text(encoding="utf-8"):
        pytest.skip("the page is about another version of NumPy")
    check_golden(PAGE, markdown(), bless)


def test_every_op_is_listed(capsys):
    assert main(["ops"]) == 0
    first = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert set(REGISTRY) <= first


def test_status_of_functions():
    status = {f.name: f.status for f in functions()}
    assert status["add"] == status["concatenate"] == status["linalg.norm"] == "supported"
    assert status["unique_all"] == status["linalg.svd"] == "refused"
    assert status["roots"] == "not supported"
    assert "save" not in status and "float32" not in status


def test_status_of_methods():
    status = {f.name: f.status for f in methods()}
    assert status["T"] == status["sort"] == status["shape"] == "supported"
    assert status["tofile"] == "not supported"


def test_refused_functions_say_why():
    assert all(f.note for f in functions() if f.status == "refused")


@pytest.mark.parametrize("name", ["where", "np.where", "ndarray.take", "linalg.inv", "slice"])
def test_one_name(name, capsys):
    assert main(["ops", name]) == 0
    assert name.split(".")[-1] in capsys.readouterr().out


def test_unknown_name(capsys):
    assert main(["ops", "nonsense"]) == 1
    assert "nonsense" in capsys.readouterr().err


# The array API standard 2024.12, under NumPy's names: what issue A asks for at least.
STANDARD = """
abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_invert bitwise_or
bitwise_right_shift bitwise_xor ceil clip conj copysign cos cosh divide equal exp expm1 floor floor_divide
greater greater_equal hypot imag isfinite isinf isnan less less_equal log log1p log2 log10 logaddexp
logical_and logical_not logical_or logical_xor maximum minimum multiply negative nextafter not_equal
positive pow real reciprocal remainder round sign signbit sin sinh square sqrt subtract tan tanh trunc
arange asarray empty empty_like eye full full_like linspace meshgrid ones ones_like tril triu zeros
zeros_like take take_along_axis matmul matrix_transpose tensordot vecdot broadcast_arrays broadcast_to
concat expand_dims flip moveaxis permute_dims repeat reshape roll squeeze stack tile unstack argmax argmin
count_nonzero searchsorted where argsort sort cumulative_sum cumulative_prod max mean min prod std sum var
all any diff linalg.cross linalg.diagonal linalg.matmul linalg.matrix_norm linalg.matrix_power
linalg.matrix_transpose linalg.outer linalg.tensordot linalg.trace linalg.vecdot linalg.vector_norm astype
can_cast result_type
""".split()  # noqa: SIM905


def test_the_array_api_standard_is_covered():
    status = {f.name: f.status for f in functions()}
    assert [name for name in STANDARD if status.get(name) != "supported"] == []
