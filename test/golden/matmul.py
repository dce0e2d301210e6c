"""Matrix products: matmul, linear, einsum."""

import torch
import torch.nn.functional as F

from cases import ALL, FLOATS, INTS, case, rand, values

nan, inf = float("nan"), float("inf")


def matmul(a, b, dtypes=FLOATS, name=None):
    case("matmul", [rand(*a), rand(*b)], torch=torch.matmul, dtypes=dtypes, name=name or f"{a}x{b}".replace(" ", ""),
         **(dict(grad=False, second=False) if dtypes is INTS else {}))


matmul((3, 4), (4, 5))
matmul((3, 4), (4, 5), dtypes=INTS, name="integers")
matmul((4,), (4,))
matmul((4,), (4, 3))
matmul((3, 4), (4,))
matmul((2, 3, 4), (4, 2))
matmul((2, 3, 4), (4,))
matmul((3,), (2, 3, 2))
matmul((2, 3, 4), (2, 4, 2))
matmul((3, 4), (2, 4, 2))
matmul((2, 1, 2, 3), (3, 3, 2))
matmul((2, 2, 2, 3), (3, 2))
matmul((1, 4), (4, 9))
matmul((7, 1), (1, 18))
matmul((13, 2), (2, 3))
case("matmul", [rand(0, 3), rand(3, 2)], torch=torch.matmul, name="no rows", second=False)
case("matmul", [rand(2, 0), rand(0, 2)], torch=torch.matmul, name="no inner", second=False)
case("matmul", [values([[nan, 1.0], [2.0, inf]]), values([[1.0, 0.0], [0.0, 1.0]])], torch=torch.matmul, name="NaN and infinity",
     grad=False, second=False)
case("matmul", [values([[200, 100]], dtype="uint8"), values([[2], [3]], dtype="uint8")], torch=torch.matmul, dtypes=("uint8",),
     name="wraps", grad=False, second=False)

case("linear", [rand(3, 4), rand(5, 4), rand(5)], torch=F.linear, name="bias")
case("linear", [rand(3, 4), rand(5, 4), None], torch=lambda x, w, b: F.linear(x, w), name="no bias")
case("linear", [rand(2, 3, 4), rand(2, 4), rand(2)], torch=F.linear, name="batch")
case("linear", [rand(4), rand(3, 4), rand(3)], torch=F.linear, name="vector")
case("linear", [rand(5, 4), rand(1, 4), rand(1)], torch=F.linear, name="one output")
case("linear", [rand(0, 4), rand(3, 4), rand(3)], torch=F.linear, name="empty", second=False)


def einsum(equation, *shapes, **options):
    case("einsum", [[rand(*s) for s in shapes]], {"equation": equation}, lambda *xs: torch.einsum(equation, *xs), name=equation,
         **options)


einsum("ij,jk->ik", (2, 3), (3, 4))
einsum("ij,kj->ik", (2, 3), (4, 3))
einsum("ji,jk", (3, 2), (3, 4))
einsum("bij,bjk->bik", (2, 2, 3), (2, 3, 2))
einsum("bhqd,bhkd->bhqk", (1, 2, 3, 2), (1, 2, 2, 2))
einsum("ii", (3, 3))
einsum("ii->i", (3, 3))
einsum("ij->ji", (2, 3))
einsum("ij->", (2, 3))
einsum("ij,ij->i", (2, 3), (2, 3))
einsum("i,j->ij", (2,), (3,))
einsum("ij,ij->ij", (2, 3), (2, 3))
einsum("...ij,...jk->...ik", (2, 1, 2, 3), (3, 3, 2))
einsum("i...,i...", (2, 3), (2, 3))
einsum("i...->...", (2, 3))
einsum("...->", (2, 3))
einsum("ij,jk,kl->il", (2, 3), (3, 2), (2, 3))
einsum("bn,anm,bm->ba", (2, 3), (2, 3, 2), (2, 2))
einsum("ij,jk->ik", (2, 1), (3, 2))
einsum("aab,bc->ac", (2, 2, 3), (3, 2))
einsum("xy,zw->", (2, 3), (2, 2))
einsum("abcd,cdef->abef", (1, 2, 2, 3), (2, 3, 2, 1))
