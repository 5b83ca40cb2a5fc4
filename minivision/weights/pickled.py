"""Reading a pickle without running it.

A pickle is a program for a small machine with a stack, and one of its instructions calls any function that the file names: that is
why opening a stranger's file runs the stranger's code. The standard library's `pickletools` lists the instructions and runs none.
Here is a machine of our own for the few that a file of numbers needs: it knows a handful of names, and meets every other name and
instruction with a refusal.
"""

import pickletools

NOTHING = object()          # marks a place on the stack


def read_pickle(file, names, persistent):
    """The value that the next pickle in an open binary `file` describes.

    names         {"module name": function}: all that it may call; a call of anything else is refused
    persistent    function of a tuple by which the pickle points to data outside of it (a tensor's numbers)

    ValueError for whatever is not understood, or not allowed.
    """
    stack, memo = [], {}
    for opcode, argument, position in instructions(file):
        name = opcode.name
        if name == "STOP":
            break
        try:
            obey(name, argument, stack, memo, names, persistent)
        except (IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            what = f"{name}: {type(error).__name__} {str(error)[:80]}"
            raise ValueError(f"its pickle is damaged at byte {position} ({what})") from None
    if len(stack) != 1:
        raise ValueError(f"its pickle leaves {len(stack)} values, not one")
    return stack[0]


def instructions(file):
    """(opcode, argument, position) up to the end of one pickle."""
    try:
        yield from pickletools.genops(file)
    except (ValueError, UnicodeDecodeError, IndexError, OverflowError) as error:
        raise ValueError(f"it is not a pickle, or cut off: {error}") from None


def obey(name, argument, stack, memo, names, persistent):
    """One instruction."""
    if name in ("PROTO", "FRAME"):
        return
    if name in CONSTANTS:
        stack.append(CONSTANTS[name]())
    elif name in LITERALS:
        stack.append(argument)
    elif name == "MARK":
        stack.append(NOTHING)
    elif name in ("BINPUT", "LONG_BINPUT"):
        memo[argument] = stack[-1]
    elif name == "MEMOIZE":
        memo[len(memo)] = stack[-1]
    elif name in ("BINGET", "LONG_BINGET"):
        stack.append(memo[argument])
    elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
        n = int(name[-1])
        stack[-n:] = [tuple(stack[-n:])]
    elif name == "TUPLE":
        stack.append(tuple(since_mark(stack)))
    elif name in ("APPEND", "APPENDS"):
        items = since_mark(stack) if name == "APPENDS" else [stack.pop()]
        expect(list, stack[-1], name).extend(items)
    elif name in ("SETITEM", "SETITEMS"):
        items = since_mark(stack) if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
        if len(items) % 2:
            raise IndexError("a key has no value")
        expect(dict, stack[-1], name).update(zip(items[::2], items[1::2]))
    elif name in ("GLOBAL", "STACK_GLOBAL"):
        wanted = argument if name == "GLOBAL" else " ".join([stack.pop(-2), stack.pop()])
        if wanted not in names:
            raise ValueError(f"refused: it names {wanted.replace(' ', '.')}, and a file of numbers has no use for that; opened as "
                             "a pickle it could run code")
        stack.append(names[wanted])
    elif name == "REDUCE":
        arguments, function = stack.pop(), stack.pop()
        if not (callable(function) and any(function is known for known in names.values())):
            raise ValueError("refused: its pickle calls what is no function of ours")
        stack.append(function(*expect(tuple, arguments, name)))
    elif name == "BINPERSID":
        stack.append(persistent(expect(tuple, stack.pop(), name)))
    elif name == "BUILD":                       # attributes of a dict of tensors: versions of modules, of no use here
        stack.pop()
        expect(dict, stack[-1], name)
    else:
        raise ValueError(f"refused: its pickle has the instruction {name}, which a file of numbers does not need")


CONSTANTS = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "NONE": lambda: None, "NEWTRUE": lambda: True,
             "NEWFALSE": lambda: False}
LITERALS = {"BININT", "BININT1", "BININT2", "LONG1", "INT", "LONG", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
            "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES"}


def since_mark(stack):
    """What was put on the stack after the last mark, taken off with it."""
    at = next((i for i in range(len(stack) - 1, -1, -1) if stack[i] is NOTHING), None)
    if at is None:
        raise IndexError("there is no mark")
    items = stack[at + 1:]
    del stack[at:]
    return items


def expect(kind, value, name):
    if not isinstance(value, kind):
        raise TypeError(f"{name} found a {type(value).__name__}")
    return value
