"""The boot file as Python and its parsers see it. The texts are those of CPython, argparse, absl and click."""
# ruff: noqa: RUF001 - Chinese punctuation

from __future__ import annotations

from launcher.core.diagnose.signatures.form import Signature, Words

_ARGUMENTS = (
    Signature(
        # UMN troubleshooting, "Failed to Parse Parameters"
        code="arguments-unrecognized",
        find=(
            ("unrecognized arguments:", r"error: unrecognized arguments: (?P<arguments>.{1,200})"),
            ("Unknown command line flag", r"Unknown command line flag '(?P<arguments>[^']{1,100})'"),
            ("No such option", r"No such option:? (?P<arguments>[^\s]{1,100})"),
        ),
        en=Words(
            "The boot file does not know the arguments that the job passes: {arguments}",
            "Declare them with add_argument, or use parse_known_args() in place of parse_args(); arguments of the "
            "platform are left out with --no-platform-args.",
        ),
        zh=Words(
            "启动文件不认识作业传入的参数：{arguments}",
            "请用 add_argument 声明这些参数，或用 parse_known_args() 代替 parse_args()；"
            "平台自动追加的参数可用 --no-platform-args 去掉。",
        ),
    ),
    Signature(
        code="arguments-missing",
        find=(
            ("arguments are required:", r"the following arguments are required: (?P<arguments>.{1,200})"),
            ("Missing option", r"Error: Missing option (?P<arguments>.{1,100}?)\.?$"),
        ),
        en=Words(
            "The boot file requires arguments that the job does not pass: {arguments}",
            "Give them as hyperparameters, inputs or outputs of the job, under exactly these names.",
        ),
        zh=Words(
            "启动文件要求的参数没有由作业传入：{arguments}",
            "请在作业中以完全相同的名称添加为超参、输入或输出。",
        ),
    ),
    Signature(
        code="argument-invalid",
        find=(
            ("error: argument ", r"error: argument (?P<argument>[^:]{1,100}): (?P<why>.{1,200})"),
            ("Invalid value for", r"Error: Invalid value for (?P<argument>[^:]{1,100}): (?P<why>.{1,200})"),
        ),
        en=Words(
            "The boot file refuses the value of its argument {argument}: {why}",
            "Correct the value of this hyperparameter in the job.",
        ),
        zh=Words("启动文件拒绝参数 {argument} 的取值：{why}", "请在作业中修改该超参的取值。"),
    ),
    Signature(
        code="boot-file-missing",
        find=(("can't open file", r"can't open file '(?P<path>[^']{1,300})'"),),
        en=Words(
            "Python finds no file {path}",
            "Correct the path in the command or the boot file; the code directory's last folder name is part of it.",
        ),
        zh=Words("Python 找不到文件 {path}", "请修改命令或启动文件的路径；该路径包含代码目录最后一级文件夹的名称。"),
    ),
)

_CODE = (
    Signature(
        code="syntax-error",
        find=(
            ("SyntaxError", r"^SyntaxError: (?P<why>.{1,200})"),
            ("IndentationError", r"^IndentationError: (?P<why>.{1,200})"),
            ("TabError", r"^TabError: (?P<why>.{1,200})"),
        ),
        en=Words(
            "Python cannot read the code: {why}",
            "Correct the line that the evidence names; check that the code is for this version of Python.",
        ),
        zh=Words("Python 无法解析代码：{why}", "请修改下列依据中指出的行，并确认代码适用于当前 Python 版本。"),
    ),
    Signature(
        code="text-encoding",
        find=(
            ("UnicodeDecodeError", r"UnicodeDecodeError: '(?P<codec>[\w\-]{1,40})' codec"),
            ("UnicodeEncodeError", r"UnicodeEncodeError: '(?P<codec>[\w\-]{1,40})' codec"),
        ),
        en=Words(
            "Text cannot be read or written as {codec}",
            "Name the encoding (open(..., encoding='utf-8')), or set PYTHONUTF8=1 in the job's variables; open what is "
            "no text with mode 'rb'.",
        ),
        zh=Words(
            "文本无法按 {codec} 编码读写",
            "请指明编码（open(..., encoding='utf-8')），或在作业环境变量中设置 PYTHONUTF8=1；"
            "非文本文件请用 'rb' 模式打开。",
        ),
    ),
    Signature(
        code="recursion",
        find=(("RecursionError", ""),),
        en=Words(
            "The code calls itself without an end",
            "Correct the recursion at the line that the evidence names; a deep one needs sys.setrecursionlimit.",
        ),
        zh=Words("代码无休止地递归调用自身", "请修改下列依据所指行的递归；确需深递归时请调用 sys.setrecursionlimit。"),
    ),
    Signature(
        # multiprocessing.spawn
        code="main-not-guarded",
        find=(("before the current process has finished its bootstrapping phase", ""),),
        en=Words(
            "The boot file starts processes while it is being imported by one of them",
            "Put what starts the training below if __name__ == '__main__'.",
        ),
        zh=Words(
            "启动文件在被子进程导入时又启动了新进程",
            "请将启动训练的代码放到 if __name__ == '__main__' 之下。",
        ),
    ),
    Signature(
        code="not-picklable",
        find=(
            ("Can't pickle", r"Can't pickle (?P<what>.{1,160})"),
            ("cannot pickle", r"cannot pickle (?P<what>.{1,160})"),
        ),
        en=Words(
            "A value cannot be sent to another process: {what}",
            "Move lambdas and local functions to the top of a module, and open files and connections in the worker.",
        ),
        zh=Words(
            "某个值无法传给另一个进程：{what}",
            "请将 lambda 和局部函数移到模块顶层，并在工作进程中打开文件和连接。",
        ),
    ),
    Signature(
        code="no-standard-input",
        find=(("EOF when reading a line", ""),),
        en=Words(
            "The code asks for keyboard input, and a job has none",
            "Take out input() or pass the answer as a hyperparameter; wandb needs WANDB_API_KEY or WANDB_MODE=offline.",
        ),
        zh=Words(
            "代码等待键盘输入，而训练作业没有标准输入",
            "请去掉 input() 或改用超参传入；wandb 需要设置 WANDB_API_KEY 或 WANDB_MODE=offline。",
        ),
    ),
    Signature(
        code="no-display",
        find=(
            ("no display name and no $DISPLAY environment variable", ""),
            ("could not connect to display", ""),
            ("cannot connect to X server", ""),
        ),
        en=Words(
            "The code opens a window, and a container has no display",
            "Use matplotlib.use('Agg') and savefig, and opencv-python-headless in place of opencv-python.",
        ),
        zh=Words(
            "代码要打开窗口，而容器没有显示设备",
            "请使用 matplotlib.use('Agg') 和 savefig，并用 opencv-python-headless 代替 opencv-python。",
        ),
    ),
)

TABLE = (*_ARGUMENTS, *_CODE)
