"""What the command `minivision` understands: its commands, their arguments, and a line of help for each."""

import argparse
from dataclasses import fields

ABOUT = {
    "epochs": "how often every image is seen", "lr": "learning rate",
    "schedule": "constant, cosine (to 0) or step (×0.1 each third)",
    "warm_up": "steps over which the learning rate rises", "clip": "largest norm of all gradients together, 0 for none",
    "data": "digits, mnist, fashion-mnist, cifar10, or a folder (IDX, CIFAR .bin, or train/ and test/ with class folders); "
            "for detectors scenes, bccd, voc2007, coco-val, or a folder in VOC, COCO or YOLO form",
    "model": "small-cnn, linear, three-conv, resnet9, resnet20, resnet56, resnet18, resnet34, resnet50, se_resnet18, se_resnet50, "
             "alexnet, vgg11, vgg16, googlenet, densenet121, squeezenet1_1, mobilenet_v2; "
             "detectors: ssd, yolo, yolo-v1, faster-rcnn",
    "augment": "flip, crop, rotate, zoom, colour, cutout, mixup; for detectors flip, turn, crop, expand, colour; joined by commas",
    "weights": "classifiers: what to begin with, imagenet or a file (.safetensors, .npz, .pth); the last layer is "
               "always new",
    "freeze": "classifiers: with --weights, only the last layer learns",
    "body": "classifiers: factor of the learning rate below the last layer, e.g. 0.1",
    "size": "pixels a side, for folders of photos; for detectors of the shorter side (0: as it is, at most 256)",
    "optimiser": "sgd, nesterov, adam, adamw; they want different --lr (of detectors about 0.02 for sgd, 0.003 for adamw)",
    "smoothing": "of the labels, e.g. 0.1",
    "batch_size": "images a step", "momentum": "of sgd and nesterov", "weight_decay": "pull of the weights towards 0",
    "seed": "same seed, same bytes", "device": "cpu or gpu",
    "split": "detectors: what to learn from (default: train or trainval)",
    "validation": "detectors: what to validate on (default: val or test; without splits, every fifth image)",
    "priors": "yolo: so many, found in the training set by k-means (0: general ones)",
    "every": "epochs between validations", "mend": "detectors: leave out what is wrong in the annotations, with a warning",
}


def parser():
    main = argparse.ArgumentParser(prog="minivision", description="A computer-vision textbook that runs.")
    commands = main.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="train a small CNN on digits and three detectors on scenes, and draw what they learned")
    demo.add_argument("--out", default="runs/demo", help="folder of the run (default: %(default)s)")

    train = commands.add_parser("train", help="train a network", epilog="Defaults depend on the model; settings.json in the run's "
                                "folder has them all.")
    train.add_argument("--out", default="runs/train", help="folder of the run (default: %(default)s)")
    train.add_argument("--resume", metavar="RUN", help="go on with the run in this folder, with its own settings")
    from minivision.settings import Settings
    for field in fields(Settings):
        kind = {"action": "store_true"} if field.type is bool else {"type": field.type}
        train.add_argument(f"--{field.name.replace('_', '-')}", default=None, help=ABOUT[field.name], **kind)

    evaluate = commands.add_parser("evaluate", help="a run on its test set; or detections against ground truth, both COCO files",
                                   description="minivision evaluate RUN, or: minivision evaluate --truth FILE --detections FILE")
    evaluate.add_argument("run", metavar="RUN", nargs="?", help="folder of the run")
    evaluate.add_argument("--truth", metavar="JSON", help="COCO annotations")
    evaluate.add_argument("--detections", metavar="JSON", help="COCO results: a list of image_id, category_id, bbox, score")
    evaluate.add_argument("--out", metavar="DIR", help="for curves and the breakdown of mistakes (default: runs/evaluation)")
    evaluate.add_argument("--mend", action="store_true", help="leave out what is wrong in the ground truth instead of stopping")
    evaluate.add_argument("--data", help="another data set with the same classes and image size")
    evaluate.add_argument("--split", help="detectors: of the run's own data, or of --data (default: what it validates on; of "
                                          "--data test, else val)")
    evaluate.add_argument("--device", choices=("cpu", "gpu"), help="if not the one it was trained on")
    evaluate.add_argument("--best", action="store_true", help="the best weights of the run, not the newest")
    evaluate.add_argument("--mirror", action="store_true", help="classifiers: answers are means over an image and its mirror image")

    ladder = commands.add_parser("ladder", help="quick checks of a detector on a few images, before a long training run")
    ladder.add_argument("--model", default="ssd", help="ssd, yolo, yolo-v1 or faster-rcnn (default: %(default)s)")
    ladder.add_argument("--data", default="scenes", help="as for train (default: %(default)s)")
    ladder.add_argument("--split", help=ABOUT["split"])
    ladder.add_argument("--validation", help=ABOUT["validation"])
    ladder.add_argument("--size", type=int, help=ABOUT["size"])
    ladder.add_argument("--mend", action="store_true", default=None, help=ABOUT["mend"])
    ladder.add_argument("--images", type=int, default=8, help="how many (default: %(default)s)")
    ladder.add_argument("--steps", type=int, default=150, help="of training on them (default: %(default)s)")

    classify = commands.add_parser("classify", help="say what photos show", description="minivision classify photo.jpg --model "
                                   "resnet18 --weights imagenet, or: minivision classify photo.jpg --run RUN")
    classify.add_argument("paths", metavar="IMAGE|DIR", nargs="+", help="images, or folders of them")
    classify.add_argument("--run", metavar="RUN", help="folder of a classifier's run")
    classify.add_argument("--top", type=int, default=5, help="how many classes (default: %(default)s)")
    classify.add_argument("--out", metavar="DIR", help="folder for a picture of each and classes.json (default: none)")

    detect = commands.add_parser("detect", help="find objects in images: draws them and writes detections.json",
                                 description="minivision detect photo.jpg --model yolo-fastest, or: minivision detect photo.jpg "
                                             "--run RUN")
    detect.add_argument("paths", metavar="IMAGE|DIR", nargs="+", help="images, or folders of them: photos, frames of a video")
    detect.add_argument("--run", help="folder of a detector's run (default: runs/train)")
    detect.add_argument("--out", default="runs/detections", help="folder for pictures and detections.json (default: %(default)s)")
    detect.add_argument("--least", type=float, default=0.3, help="lowest score that is drawn and written (default: %(default)s)")
    detect.add_argument("--device", choices=("cpu", "gpu"), help="if not the one it was trained on")
    detect.add_argument("--best", action="store_true", help="the best weights of the run, not the newest")

    chosen = commands.add_parser("weights", help="published networks: list them, get their weights")
    chosen = chosen.add_subparsers(dest="what", required=True, metavar="ACTION")
    chosen.add_parser("list", help="what there is")
    fetched = chosen.add_parser("get", help="download the weights of a published network")
    fetched.add_argument("name", help="as `minivision weights list` has it")
    fetched.add_argument("--weights", help="which (default: the first of the list)")
    fetched.add_argument("--to", help="folder (default: weights/ in $MINIVISION_DATA or the project's data/)")
    fetched.add_argument("--mirror", metavar="URL", help="another server that has the same files")

    summary = commands.add_parser("summary", help="a network's layers: shapes, parameters, multiply–adds, memory")
    export = commands.add_parser("export", help="write a network as ONNX, for other programs")
    summary.add_argument("model", metavar="MODEL", help="a classifier of `minivision train`, one of `minivision weights list`, or "
                         "a darknet .cfg")
    export.add_argument("model", metavar="MODEL|RUN", help="a published network, a darknet .cfg, or the folder of a run")
    for command in (summary, export):
        command.add_argument("--size", help="height x width of the images (default: what the network was made for)")
    export.add_argument("to", metavar="FILE.onnx")
    summary.add_argument("--classes", type=int, help="how many (default: as published)")
    for command, task in ((classify, "imagenet"), (detect, "coco"), (export, "imagenet, coco")):
        if command is not export:
            command.add_argument("--model", help="a published network (`minivision weights list`), or a darknet .cfg")
        command.add_argument("--weights", help=f"{task} (default), or a file: .safetensors, .npz, .pth, darknet's .weights")
        command.add_argument("--names", metavar="FILE", help="names of the classes, one a line, if not the published ones")

    actions = commands.add_parser("data", help="get, check, convert and make data sets").add_subparsers(dest="what", required=True,
                                                                                                       metavar="ACTION")
    get = actions.add_parser("get", help="download a data set")
    get.add_argument("name", help="mnist, fashion-mnist, cifar10, bccd, voc2007 or coco-val")
    get.add_argument("--to", help="folder for data sets (default: $MINIVISION_DATA or the project's data/)")
    get.add_argument("--mirror", metavar="URL", help="another server that has the same files")

    check = actions.add_parser("check", help="list every problem of a detection data set; exit status 1 if there is one")
    check.add_argument("folder", metavar="DIR", help="in VOC, COCO or YOLO form, or scenes, bccd, voc2007, coco-val")

    convert = actions.add_parser("convert", help="write a detection data set in another form")
    convert.add_argument("folder", metavar="FROM", help="as for check")
    convert.add_argument("to", metavar="TO", help="a folder; files that are there already are not overwritten")
    convert.add_argument("--split", help="of the source, e.g. train (default: all of it); also the name of the new one")
    convert.add_argument("--mend", action="store_true",
                         help="clip what sticks out and leave out what cannot be used, with a warning")

    scenes = actions.add_parser("scenes", help="make scenes of shapes and digits",
                                formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    scenes.add_argument("to", metavar="DIR", help="a folder; files that are there already are not overwritten")
    scenes.add_argument("--images", type=int, default=100, help="how many")
    scenes.add_argument("--size", default="128x128", help="height x width in pixels")
    scenes.add_argument("--most", type=int, default=6, help="objects in a scene; crowded ones teach faster")
    scenes.add_argument("--seed", type=int, default=0, help="same seed, same scenes")
    scenes.add_argument("--split", default="train", help="name of the split")
    scenes.add_argument("--writers", choices=("train", "test"), default="train", help="whose handwriting")
    scenes.add_argument("--suffix", choices=("png", "jpg"), default="png", help="jpg is smaller, and not exact")
    for command in (check, convert):
        command.add_argument("--classes", help="names in the order of their labels, joined by commas (VOC, YOLO)")
    for command in (convert, scenes):
        command.add_argument("--format", choices=("voc", "coco", "yolo"), default="coco", help="of what is written")
        command.add_argument("--leave-out-marked", action="store_true",
                             help="leave out difficult objects and crowds, which YOLO text cannot hold")

    doctor = commands.add_parser("doctor", help="show what is installed and what to do about what is odd")
    doctor.add_argument("--warm", action="store_true", help="compile every kernel now, so that nobody waits later")
    for command in (demo, train, evaluate, ladder, classify, detect, get, check, convert, scenes, fetched, doctor):
        command.add_argument("--quiet", action="store_true", help="no progress bars")
    return main
