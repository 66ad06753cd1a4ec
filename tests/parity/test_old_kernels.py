"""Does the program ask for nothing that Linux 5.10 lacks, as far as its instructions and maps show?"""

from __future__ import annotations

import errno
from itertools import pairwise

import pytest
from parity.ground import kind_of
from parity.instructions import CALL, Instruction, in_object

from dsrlb.bpf.objects import object_path
from dsrlb.host import bpf

LAST_HELPER = 155  # bpf_redirect_peer, the last of enum bpf_func_id in Linux 5.10
TAIL_CALL = 12
LAST_MAP_TYPE = 28  # BPF_MAP_TYPE_INODE_STORAGE
STACK_BYTES, FRAME_POINTER = 512, 10
ATOMICS, PLAIN_ADD = (0xC3, 0xDB), 0
JUMPS, JUMP_32 = (5, 6), 6  # classes of instructions: by 64 bits, and by 32
MOVE, ADD = 0xBF, 0x07  # of 64 bits: a register; a constant
NEWER = {0x06: "a long jump", 0xD7: "an unconditional byte swap"}  # instruction set 4, Linux 6.6
SIGNED_LOADS = 0x81, 0x89, 0x91, 0x99
DIVISIONS_AND_MOVES = (
    0x3C,
    0x3F,
    0x34,
    0x37,
    0x9C,
    0x9F,
    0x94,
    0x97,
    0xBC,
    0xBF,
)  # an offset makes them signed


@pytest.fixture(scope="module", params=["xdp", "traced"])
def code(request: pytest.FixtureRequest) -> list[Instruction]:
    return in_object(object_path(request.param))


def helpers(code: list[Instruction]) -> set[int]:
    return {one.immediate for one in code if one.opcode == CALL and one.src == 0}


def test_no_helper_is_newer(code: list[Instruction]) -> None:
    assert not {one for one in helpers(code) if one > LAST_HELPER}
    assert TAIL_CALL in helpers(code)  # they are read right


def test_atomic_instructions_only_add(code: list[Instruction]) -> None:
    """What fetches, exchanges or compares came with Linux 5.12."""
    assert {one.immediate for one in code if one.opcode in ATOMICS} <= {PLAIN_ADD}


def test_no_function_of_the_kernels_own_is_called_and_none_of_the_program_s(code: list[Instruction]) -> None:
    """Calls between BPF functions go with tail calls on x86 alone."""
    assert {one.src for one in code if one.opcode == CALL} == {0}


def test_the_instruction_set_is_an_old_one(code: list[Instruction]) -> None:
    assert not {NEWER[one.opcode] for one in code if one.opcode in NEWER}
    assert not [one for one in code if one.opcode in SIGNED_LOADS]
    assert not [one for one in code if one.opcode in DIVISIONS_AND_MOVES and one.offset]


def test_what_a_map_says_of_an_entry_is_compared_in_32_bits(code: list[Instruction]) -> None:
    """Before Linux 6.4 the upper half of the register is not of the same sign."""
    errors = {one.opcode & 7 for one in code if one.opcode & 7 in JUMPS and one.immediate == -errno.EEXIST}
    assert errors == {JUMP_32}


def test_the_stack_is_deep_enough(code: list[Instruction]) -> None:
    direct = [one.offset for one in code if is_memory(one) and FRAME_POINTER in pointers(one)]
    pairs = pairwise(code)
    taken = [add.immediate for move, add in pairs if move.opcode == MOVE and move.src == FRAME_POINTER
             and add.opcode == ADD and add.dst == move.dst]  # fmt: skip
    assert direct and taken
    assert min(direct + taken) >= -STACK_BYTES


def is_memory(one: Instruction) -> bool:
    return (one.opcode & 7 in (1, 2, 3) and one.opcode & 0xE0 == 0x60) or one.opcode in ATOMICS


def pointers(one: Instruction) -> tuple[int, ...]:
    """Return the register that holds the address: the source of a load, the destination of a store."""
    return (one.src,) if one.opcode & 7 == 1 else (one.dst,)


@pytest.mark.parametrize("name", ["xdp", "traced"])
def test_every_kind_of_map_is_there(name: str) -> None:
    with bpf.load(object_path(name)) as loaded:
        kinds = {one.name: kind_of(one)[0] for one in loaded.maps()}
    assert kinds and max(kinds.values()) <= LAST_MAP_TYPE, kinds
