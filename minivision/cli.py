"""The command `minivision`: a thin shell around functions that a notebook can call as well."""

import sys
from dataclasses import fields

from minivision.arguments import parser


def main(argv=None):
    """Run one command; returns the exit status: 0, 1 (doctor found something), 2 (an error, told in one line)."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):      # a terminal without "→" or "≥" shows "?" instead of failing
            stream.reconfigure(errors="replace")
    args = parser().parse_args(argv)
    try:
        return COMMANDS[args.command](args)
    except (ValueError, OSError) as error:
        print(f"minivision {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        again = "minivision train --resume RUN" if args.command == "train" else "the same command"
        print(f"\nstopped; it goes on with: {again}", file=sys.stderr)
        return 130


def run_demo(args):
    from minivision.demo import demo
    demo(args.out, progress=not args.quiet)
    return 0


def run_train(args):
    from minivision.experiment import resume, train
    from minivision.settings import Settings
    given = {f.name: value for f in fields(Settings) if (value := getattr(args, f.name)) is not None}
    if args.resume is not None:
        device = given.pop("device", None)
        if given:
            changed = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise ValueError(f"--resume goes on with the run's own settings; leave out {changed}")
        directory, history = args.resume, resume(args.resume, device=device, progress=not args.quiet)
    else:
        settings = Settings.recommended(given.pop("model", Settings.model), **given)
        directory, history = args.out, train(settings, args.out, progress=not args.quiet)
    last = history[-1]
    print(", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in last.items() if name != "epoch")
          + f" after {last['epoch']} epochs; the run is in {directory}")
    return 0


def run_evaluate(args):
    if args.truth or args.detections:
        if args.run or not (args.truth and args.detections) or args.data or args.device or args.best or args.split or args.mirror:
            raise ValueError("give either a RUN (with --data, --split, --device, --best), or both --truth and --detections (with "
                             "--out, --mend)")
        from minivision.evaluation import evaluate_files, report
        out = args.out or "runs/evaluation"
        print(report(evaluate_files(args.truth, args.detections, out, mend=args.mend)) + f"curves and mistakes are drawn in {out}")
        return 0
    if not args.run:
        raise ValueError("give a RUN, or both --truth and --detections")
    from minivision.settings import DETECTORS, read_settings
    if read_settings(args.run).model in DETECTORS:
        from minivision.detection_run import evaluate_run
        from minivision.evaluation import report
        out = args.out or f"{args.run}/evaluation"
        if args.mirror:
            raise ValueError(f"{args.run} is a detector's run; --mirror is for classifiers")
        results = evaluate_run(args.run, args.data, args.split, best=args.best, device=args.device, out=out, mend=args.mend)
        print(report(results) + f"curves, mistakes and detections.json are in {out}")
        return 0
    if args.out or args.mend or args.split:
        raise ValueError(f"{args.run} is a classifier's run; --out, --mend and --split are for detectors")
    from minivision.experiment import evaluate
    result = evaluate(args.run, data_name=args.data, best=args.best, device=args.device, mirror=args.mirror)
    print(f"accuracy {result['accuracy']:.4f}, loss {result['loss']:.4f} on {result['images']} images "
          f"({result['images_per_second']:.0f} images/s)")
    return 0


def run_ladder(args):
    from minivision.detection_run import ladder
    from minivision.settings import Settings
    names = ("data", "split", "validation", "size", "mend")
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    settings, held = Settings.recommended(args.model, **given), True
    for step in ladder(settings, args.images, args.steps, progress=not args.quiet):
        print(step, flush=True)
        held = held and step.holds
    return 0 if held else 1


def run_detect(args):
    if args.model is None:
        if args.weights or args.names:
            raise ValueError("--weights and --names go with --model")
        from minivision.detection_run import detect_files
        objects, images = detect_files(args.run or "runs/train", args.paths, args.out, least=args.least, best=args.best,
                                       device=args.device, progress=not args.quiet)
    else:
        if args.run or args.best or args.device == "gpu":
            raise ValueError("give either --run (with --device, --best), or --model (with --weights, --names)")
        from minivision import pretrained
        network = pretrained.load(args.model, args.weights, classes=args.names)
        objects, images = pretrained.detect_files(network, args.paths, args.out, least=args.least, progress=not args.quiet)
    print(f"{objects} objects in {images} image(s); pictures and detections.json are in {args.out}")
    return 0


def run_classify(args):
    from minivision import pretrained
    if (args.run is None) == (args.model is None):
        raise ValueError("give either --model (with --weights, --names), or --run, the folder of a classifier's run")
    if args.run and (args.weights or args.names):
        raise ValueError("--weights and --names go with --model")
    if args.run:
        from minivision.classification_run import network_of
        network = network_of(args.run)
    else:
        network = pretrained.load(args.model, args.weights, classes=args.names)
    for path, answers in pretrained.classify_files(network, args.paths, args.out, most=args.top, progress=not args.quiet):
        print(path)
        for name, p in answers:
            print(f"  {p:7.2%}  {name}")
    if args.out:
        print(f"pictures and classes.json are in {args.out}")
    return 0


def run_weights(args):
    from minivision import zoo
    if args.what == "list":
        for name, sets in zoo.PUBLISHED.items():
            for chosen, entry in sets.items():
                print(f"{name:24} {chosen:9} {entry.task:8}  {entry.about}")
        return 0
    for path in zoo.get(args.name, args.weights, args.to, base=args.mirror, progress=not args.quiet):
        print(path)
    return 0


def run_summary(args):
    from minivision import pretrained
    from minivision.summary import table
    model, size = pretrained.new(args.model, args.classes)
    print(table(model, (3, *(whole_numbers(args.size) if args.size else size))))
    return 0


def run_export(args):
    from minivision.experiment import to_export
    from minivision.onnx_export import export_onnx
    model, shape = to_export(args.model, args.weights, args.names)
    shape = (shape[0], *(whole_numbers(args.size) if args.size else shape[1:]))
    for path in export_onnx(model, args.to, (1, *shape)):
        print(path)
    return 0


def run_data(args):
    from minivision import data
    if args.what == "get":
        print(data.get(args.name, args.to, base=args.mirror, progress=not args.quiet))
        return 0
    classes = [name.strip() for name in args.classes.split(",")] if getattr(args, "classes", None) else None
    if args.what == "check":
        folder = data.sets.folder_of(args.folder, data.sets.DETECTION)
        problems = data.check(folder, classes, progress=not args.quiet)
        for problem in problems:
            print(problem)
        print(f"{len(problems)} problem(s) in {folder}")
        return 1 if problems else 0
    split = data.writing.plain_name(args.split or "all")             # complain before the work, not after
    if (kind := data.sets.form_of(args.to)) not in (None, args.format):
        raise ValueError(f"{args.to} has a data set in {kind} form; choose another folder")
    if args.what == "convert":
        found = data.load_detection(args.folder, args.split, classes, mend=args.mend)
    else:
        found = data.scenes(args.images, whole_numbers(args.size), args.seed, most=args.most, writers=args.writers,
                            suffix=args.suffix, progress=not args.quiet)
    found = found.unmarked() if args.leave_out_marked else found
    write = {"voc": data.write_voc, "coco": data.write_coco, "yolo": data.write_yolo}[args.format]
    write(found, args.to, split)
    print(f"{len(found)} images, {sum(found.counts().values())} objects of {len(found.classes)} classes in {args.to}")
    return 0


def whole_numbers(size):
    """(H,W) from text such as 128x96."""
    parts = size.split("x")
    if len(parts) != 2 or not all(p.isascii() and p.isdigit() for p in parts):
        raise ValueError(f"size is {size!r}; expected height x width, such as 128x192")
    return int(parts[0]), int(parts[1])


def run_doctor(args):
    from minivision.doctor import doctor
    odd = doctor()
    if args.warm:
        from minivision.warm import warm
        print(f"{warm(progress=not args.quiet)} kernels are compiled")
    return 1 if odd else 0


COMMANDS = {"demo": run_demo, "train": run_train, "evaluate": run_evaluate, "ladder": run_ladder, "classify": run_classify,
            "detect": run_detect, "data": run_data, "weights": run_weights, "summary": run_summary, "export": run_export,
            "doctor": run_doctor}
