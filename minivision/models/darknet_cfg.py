"""Reading darknet's .cfg files (Redmon's C program, in which YOLO was published): a network as a list of sections.

    [convolutional]             a section and the line it begins in
    filters=32                  its options, all of them text until a layer asks for a number
    activation=leaky
"""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Section:
    """One [name] with its options. Every error names the file, the line and the section."""

    name: str
    line: int
    file: str
    options: dict = field(default_factory=dict)         # option: (text, line)

    def error(self, problem, option=None):
        line = self.options[option][1] if option in self.options else self.line
        return ValueError(f"{self.file}, line {line}, [{self.name}]: {problem}")

    def number(self, option, default=None, kind=int, least=0):
        """An option as a number of a kind, at least `least`."""
        if option not in self.options:
            if default is None:
                raise self.error(f"{option} is missing")
            return default
        text = self.options[option][0]
        try:
            value = kind(text)
        except ValueError:
            raise self.error(f"{option} is {text!r}; expected a number", option) from None
        if not least <= value < float("inf"):
            raise self.error(f"{option} is {text}; expected at least {least}", option)
        return value

    def numbers(self, option, kind=int):
        """An option such as `-1, 24` as a list."""
        if option not in self.options:
            raise self.error(f"{option} is missing")
        text = self.options[option][0]
        try:
            return [kind(part) for part in text.split(",") if part.strip()]
        except ValueError:
            raise self.error(f"{option} is {text!r}; expected numbers with commas between them", option) from None

    def refuse(self, **options):
        """ValueError for an option that changes what a layer computes and is not known here, unless it has its harmless value."""
        for option, harmless in options.items():
            if option in self.options and self.options[option][0] != str(harmless):
                raise self.error(f"{option}={self.options[option][0]} is not supported; only {harmless} is", option)

    def one_of(self, option, choices, default=None):
        text = self.options.get(option, (default, 0))[0]
        if text not in choices:
            raise self.error(f"{option} is {text!r}; known are {', '.join(choices)}", option)
        return text


def read_cfg(path):
    """[Section] of a .cfg file, the first of them [net]. Comments begin with # or ;, blanks do not count."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file") from None
    sections = []
    for number, line in enumerate(lines, 1):
        line = line.split("#")[0].split(";")[0].strip()
        if not line:
            continue
        if line.startswith("[") and line.endswith("]"):
            sections.append(Section(line[1:-1].strip(), number, str(path)))
            continue
        option, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not option or not sections:
            raise ValueError(f"{path}, line {number}: {line[:60]!r} is neither a [section] nor an option of one (name=value)")
        if option in sections[-1].options:
            raise sections[-1].error(f"{option} is given twice", option)
        sections[-1].options[option] = (value, number)
    if not sections or sections[0].name not in ("net", "network"):
        raise ValueError(f"{path}: does not begin with [net], which gives the size of the images")
    if len(sections) == 1:
        raise ValueError(f"{path}: has no layer")
    return sections
