"""The command `minivision`: a thin shell around functions that a notebook can call as well."""

import argparse
import sys
from dataclasses import fields

ABOUT = {
    "epochs": "how often every image is seen", "lr": "learning rate",
    "schedule": "constant, cosine (to 0) or step (×0.1 each third)",
    "warm_up": "steps over which the learning rate rises", "clip": "largest norm of all gradients together, 0 for none",
    "data": "digits, mnist, fashion-mnist, cifar10, or a folder (IDX, CIFAR .bin, or train/ and test/ with class folders)",
    "model": "small-cnn, linear, three-conv, resnet20, resnet56, resnet18, resnet34", "augment": "flip and crop, joined by a comma",
    "size": "pixels a side, for folders of photos", "optimiser": "sgd, nesterov, adam, adamw",
    "smoothing": "of the labels, e.g. 0.1",
    "batch_size": "images a step", "momentum": "of sgd and nesterov", "weight_decay": "pull of the weights towards 0",
    "seed": "same seed, same bytes", "device": "cpu or gpu",
}


def parser():
    main = argparse.ArgumentParser(prog="minivision", description="A computer-vision textbook that runs.")
    commands = main.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="train a small CNN on the shipped digits and draw what it learned")
    demo.add_argument("--out", default="runs/demo", help="folder of the run (default: %(default)s)")

    train = commands.add_parser("train", help="train a network", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    train.add_argument("--out", default="runs/train", help="folder of the run")
    train.add_argument("--resume", metavar="RUN", help="go on with the run in this folder, with its own settings")
    from minivision.experiment import Settings
    for field in fields(Settings):
        train.add_argument(f"--{field.name.replace('_', '-')}", type=field.type, default=field.default,
                           help=ABOUT[field.name])

    evaluate = commands.add_parser("evaluate", help="loss and accuracy of a run on its test set")
    evaluate.add_argument("run", metavar="RUN", help="folder of the run")
    evaluate.add_argument("--data", help="another data set with the same classes and image size")
    evaluate.add_argument("--device", choices=("cpu", "gpu"), help="if not the one it was trained on")
    evaluate.add_argument("--best", action="store_true", help="the best weights of the run, not the newest")

    data = commands.add_parser("data", help="download data sets")
    get = data.add_subparsers(dest="what", required=True, metavar="get").add_parser("get", help="download a data set")
    get.add_argument("name", help="mnist, fashion-mnist or cifar10")
    get.add_argument("--to", help="folder for data sets (default: $MINIVISION_DATA or the project's data/)")
    get.add_argument("--mirror", metavar="URL", help="another server that has the same files")

    doctor = commands.add_parser("doctor", help="show what is installed and what to do about what is odd")
    doctor.add_argument("--warm", action="store_true", help="compile every kernel now, so that nobody waits later")
    for command in (demo, train, evaluate, get, doctor):
        command.add_argument("--quiet", action="store_true", help="no progress bars")
    return main


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
        print("\nstopped; a training run goes on with: minivision train --resume RUN", file=sys.stderr)
        return 130


def run_demo(args):
    from minivision.demo import demo
    demo(args.out, progress=not args.quiet)
    return 0


def run_train(args):
    from minivision.experiment import Settings, resume, train
    given = {f.name: getattr(args, f.name) for f in fields(Settings)}
    if args.resume is not None:
        changed = [f"--{f.name.replace('_', '-')}" for f in fields(Settings) if given[f.name] != f.default and f.name != "device"]
        if changed:
            raise ValueError(f"--resume goes on with the run's own settings; leave out {', '.join(changed)}")
        device = args.device if args.device != Settings.device else None
        directory, history = args.resume, resume(args.resume, device=device, progress=not args.quiet)
    else:
        directory, history = args.out, train(Settings(**given), args.out, progress=not args.quiet)
    last = history[-1]
    print(", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in last.items() if name != "epoch")
          + f" after {last['epoch']} epochs; the run is in {directory}")
    return 0


def run_evaluate(args):
    from minivision.experiment import evaluate
    result = evaluate(args.run, data_name=args.data, best=args.best, device=args.device)
    print(f"accuracy {result['accuracy']:.4f}, loss {result['loss']:.4f} on {result['images']} images "
          f"({result['images_per_second']:.0f} images/s)")
    return 0


def run_data(args):
    from minivision.data import get
    print(get(args.name, args.to, base=args.mirror, progress=not args.quiet))
    return 0


def run_doctor(args):
    from minivision.doctor import doctor
    odd = doctor()
    if args.warm:
        from minivision.warm import warm
        print(f"{warm(progress=not args.quiet)} kernels are compiled")
    return 1 if odd else 0


COMMANDS = {"demo": run_demo, "train": run_train, "evaluate": run_evaluate, "data": run_data, "doctor": run_doctor}
