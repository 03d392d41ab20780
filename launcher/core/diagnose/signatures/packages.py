"""Modules, libraries and packages that are missing or do not fit. The texts are those of CPython, ld.so and pip."""
# ruff: noqa: RUF001 - Chinese punctuation

from __future__ import annotations

from launcher.core.diagnose.signatures.form import Signature, Words

_IMPORTS = (
    Signature(
        # UMN troubleshooting, "No Module Named": the modules of the Ascend images
        code="npu-module-missing",
        find=(("No module named", r"No module named '?(?P<module>npu_bridge|npu_device|torch_npu|acl|te|tbe|hccl)\b"),),
        en=Words(
            "The Python module {module} is part of the Ascend images, and this image or its interpreter lacks it",
            "Choose an Ascend engine or image for an Ascend flavor, or take out what only NPUs need to run elsewhere.",
        ),
        zh=Words(
            "Python 模块 {module} 随昇腾镜像提供，当前镜像或其解释器中没有该模块",
            "使用昇腾规格时请选择昇腾引擎或昇腾镜像；在其他规格上运行时请去掉仅 NPU 需要的代码。",
        ),
    ),
    Signature(
        code="module-missing",
        find=(("No module named", r"No module named '?(?P<module>[\w.\-]{1,100})"),),
        en=Words(
            "The Python module {module} is not installed in the boot file's interpreter",
            "Add the package that provides {module}, with its version, to pip-requirements.txt beside the boot file; "
            "if {module} is your own code, put its folder into the code directory.",
        ),
        zh=Words(
            "启动文件所用的 Python 解释器中没有模块 {module}",
            "请在启动文件同级目录的 pip-requirements.txt 中加入提供 {module} 的包及其版本；"
            "如果 {module} 是您自己的代码，请将其所在文件夹放入代码目录。",
        ),
    ),
    Signature(
        code="name-not-in-module",
        find=(
            (
                "cannot import name",
                r"cannot import name '?(?P<name>\w{1,100})'? from (?P<module>[^(]{1,200}?)(?: \(|$)",
            ),
        ),
        en=Words(
            "{name} cannot be imported from {module}: another version of it is installed, or two modules import "
            "each other",
            "Pin the version that has {name} in pip-requirements.txt; see that no file of yours is named "
            "like a package.",
        ),
        zh=Words(
            "无法从 {module} 导入 {name}：安装的版本不一致，或者两个模块互相导入",
            "请在 pip-requirements.txt 中固定含有 {name} 的版本，并确认没有与该包同名的自有文件。",
        ),
    ),
    Signature(
        code="cann-missing",
        find=(
            (
                "cannot open shared object file",
                (
                    r"(?P<library>lib(?:ascendcl|hccl|ge_runner|ascend_hal|runtime|opapi|acl_op_compiler|te_fusion)"
                    r"\.so[\w.]{0,40}): cannot open shared object file"
                ),
            ),
        ),
        en=Words(
            "{library} of CANN or of the Ascend driver was not found",
            "Source set_env.sh of the CANN toolkit (in ma-pre-start.sh beside the boot file), and start the container "
            "with the driver mounted and NPUs assigned.",
        ),
        zh=Words(
            "找不到 CANN 或昇腾驱动的库 {library}",
            "请在启动文件同级目录的 ma-pre-start.sh 中执行 CANN 工具包的 set_env.sh，"
            "并确认容器已挂载驱动且分配了 NPU。",
        ),
    ),
    Signature(
        code="library-missing",
        find=(
            (
                "cannot open shared object file",
                (
                    r"(?:ImportError|OSError|loading shared libraries): (?P<library>[^\s:]{1,200}): "
                    r"cannot open shared object file"
                ),
            ),
        ),
        en=Words(
            "The shared library {library} is not in the image or not on LD_LIBRARY_PATH",
            "Install the system package that brings {library} in the image, or add its folder to LD_LIBRARY_PATH.",
        ),
        zh=Words(
            "镜像中没有动态库 {library}，或者它不在 LD_LIBRARY_PATH 中",
            "请在镜像中安装提供 {library} 的系统软件包，或者将其所在目录加入 LD_LIBRARY_PATH。",
        ),
    ),
    Signature(
        # glibc's loader
        code="library-too-old",
        find=(
            (
                "' not found (required by",
                r"version `(?P<version>[\w.]{1,60})' not found \(required by (?P<by>[^)]{1,300})",
            ),
        ),
        en=Words(
            "{by} needs {version}, and the image's library is older",
            "Take packages built for this image's system, or an image with a newer one; for GLIBCXX put conda's lib "
            "folder first in LD_LIBRARY_PATH.",
        ),
        zh=Words(
            "{by} 需要 {version}，而镜像中的库版本较低",
            "请使用为该镜像系统构建的软件包，或改用较新的镜像；"
            "若缺 GLIBCXX，请将 conda 的 lib 目录放在 LD_LIBRARY_PATH 最前。",
        ),
    ),
    Signature(
        code="undefined-symbol",
        find=(("undefined symbol", r"(?:^|\s)(?P<library>[^\s:]{1,300}): undefined symbol: (?P<symbol>\w{1,200})"),),
        en=Words(
            "{library} was built against another version of a library: it lacks the symbol {symbol}",
            "Install builds that belong together (such as torch and its extensions of one release), or rebuild it in "
            "this image.",
        ),
        zh=Words(
            "{library} 是用另一版本的依赖库构建的：缺少符号 {symbol}",
            "请安装相互匹配的版本（例如同一发行版的 torch 及其扩展），或在该镜像中重新编译。",
        ),
    ),
    Signature(
        code="numpy-version",
        find=(
            ("numpy.dtype size changed", ""),
            ("numpy.ndarray size changed", ""),
            ("numpy.core.multiarray failed to import", ""),
            ("A module that was compiled using NumPy 1.x cannot be run in", ""),
            ("module 'numpy' has no attribute", ""),
        ),
        en=Words(
            "The installed NumPy does not fit a package that uses it",
            'Pin NumPy in pip-requirements.txt (for most older packages "numpy<2", for np.float and np.bool '
            '"numpy<1.24"), or upgrade the package.',
        ),
        zh=Words(
            "已安装的 NumPy 与使用它的软件包不匹配",
            "请在 pip-requirements.txt 中固定 NumPy 版本（多数旧包用 numpy<2，"
            "使用 np.float、np.bool 的代码用 numpy<1.24），或升级该软件包。",
        ),
    ),
    Signature(
        code="protobuf-version",
        find=(("Descriptors cannot be created directly", ""), ("Descriptors cannot not be created directly", "")),
        en=Words(
            "The installed protobuf is newer than the generated code that a package brings",
            'Add "protobuf<3.21" to pip-requirements.txt, or upgrade the package that brings the generated code.',
        ),
        zh=Words(
            "已安装的 protobuf 比某个软件包自带的生成代码更新",
            "请在 pip-requirements.txt 中加入 protobuf<3.21，或升级带有该生成代码的软件包。",
        ),
    ),
    Signature(
        code="tensorflow-version",
        find=(("module 'tensorflow' has no attribute", r"module 'tensorflow' has no attribute '(?P<name>\w{1,80})'"),),
        en=Words(
            "The code was written for another major version of TensorFlow: this one has no tensorflow.{name}",
            "Choose the engine of the version that the code is for, or use tensorflow.compat.v1 with "
            "disable_v2_behavior().",
        ),
        zh=Words(
            "代码面向另一个 TensorFlow 大版本：当前版本没有 tensorflow.{name}",
            "请选择与代码对应版本的引擎，或使用 tensorflow.compat.v1 并调用 disable_v2_behavior()。",
        ),
    ),
    Signature(
        # setuptools' pkg_resources, and transformers.utils.versions
        code="package-version",
        find=(
            ("VersionConflict", r"VersionConflict: (?P<packages>.{1,200})"),
            ("DistributionNotFound", r"DistributionNotFound: (?P<packages>.{1,200})"),
            (
                "for a normal functioning of this module",
                r"ImportError: (?P<packages>.{1,160}?) for a normal functioning",
            ),
        ),
        en=Words(
            "Installed packages do not fit together: {packages}",
            "Pin versions that fit together in pip-requirements.txt beside the boot file.",
        ),
        zh=Words(
            "已安装的软件包版本互不匹配：{packages}",
            "请在启动文件同级目录的 pip-requirements.txt 中固定相互匹配的版本。",
        ),
    ),
)

_PIP = (
    Signature(
        code="wheel-unsupported",
        find=(
            (
                "is not a supported wheel on this platform",
                r"(?:^|[\s/])(?P<wheel>[^\s/]{1,200}\.whl) is not a supported wheel",
            ),
        ),
        en=Words(
            "pip refuses {wheel}: it was built for another Python, system or CPU",
            "Take the wheel of this image's Python version and architecture (pip debug --verbose lists the tags).",
        ),
        zh=Words(
            "pip 拒绝安装 {wheel}：它面向另一版本的 Python、系统或 CPU 架构",
            "请使用与该镜像 Python 版本和架构一致的 wheel（pip debug --verbose 可列出支持的标签）。",
        ),
    ),
    Signature(
        code="package-not-found",
        find=(
            ("No matching distribution found for", r"No matching distribution found for (?P<package>[^\s(]{1,150})"),
            ("Could not find a version that satisfies", r"satisfies the requirement (?P<package>[^\s(]{1,150})"),
        ),
        en=Words(
            "pip finds no {package} for this Python at its package index",
            "Correct name and version, set the package index (MA_PIP_URL) if this node has no Internet, or put the "
            "wheel beside the boot file.",
        ),
        zh=Words(
            "pip 在软件源中找不到适用于当前 Python 的 {package}",
            "请检查包名和版本；节点不能访问公网时请设置软件源（MA_PIP_URL），或将 wheel 放在启动文件同级目录。",
        ),
    ),
    Signature(
        code="package-conflict",
        find=(
            ("ResolutionImpossible", ""),
            ("have conflicting dependencies", ""),
        ),
        en=Words(
            "pip cannot install the packages together: their requirements exclude each other",
            "Loosen or correct the versions in pip-requirements.txt; the lines above in the log name the conflict.",
        ),
        zh=Words(
            "pip 无法同时安装这些软件包：它们的依赖要求互相冲突",
            "请放宽或修改 pip-requirements.txt 中的版本；日志中前面几行指出了冲突所在。",
        ),
    ),
)

TABLE = (*_IMPORTS, *_PIP)
