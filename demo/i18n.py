"""The page's own words in English and Chinese; the model's words are not translated."""

# ruff: noqa: E501 - one phrase with its translation a line
from __future__ import annotations

LANGUAGES: tuple[str, ...] = ("en", "zh")

WORDS: dict[str, tuple[str, str]] = {
    "tagline": ("Upload an inspection photo, talk about it, get the defect’s mask.", "上传检测照片，边聊边得到缺陷掩码。"),
    "language": ("EN | 中", "EN | 中"),
    "help": ("How it works", "使用说明"),
    "help_body": (
        "Add a photo with + (or paste or drop it), ask, and press Enter; Esc stops a reply, Shift+Enter makes a new line. "
        "Drag across a picture to compare it with the photo, or click a region or its number to point at it. "
        "Say “this is a good part” of a photo of one, and the next ones are compared with it.",
        "用 + 添加照片（也可粘贴或拖入），输入问题后按 Enter；Esc 停止回复，Shift+Enter 换行。在图上拖动可与原图对比，点击区域或其编号可选中该区域。"
        "对合格品的照片说“这是良品”，之后的图像会与它比较。",
    ),
    "help_knobs": (
        "Threshold: how sure a pixel must be to count as anomalous; lower marks more. Alpha: which of the model’s two maps "
        "weighs more, 1 the segmentation map, 0 the anomaly map. Both move the mask of the selected reply at once.",
        "阈值：像素达到多大把握才算异常，越低标出越多。Alpha：模型两张图的权重，1 为分割图，0 为异常图。两者都会即时调整所选回复的掩码。",
    ),
    "welcome": ("Is this part good, and if not, where?", "这个零件合格吗？缺陷在哪里？"),
    "welcome_sub": (
        "Add a photo and ask, or click an example below to run one.",
        "添加一张照片并提问，或点击下面的示例，一键运行模型。",
    ),
    "chat": ("Conversation", "对话"),
    "ask": ("Ask about the image, or: “segment only the scratch”", "就图像提问，或输入：“只分割划痕”"),
    "message": ("Your message", "你的消息"),
    "examples": ("Examples", "示例"),
    "images": ("Images in this conversation", "本次对话中的图像"),
    "image_n": ("Image {n}", "图像 {n}"),
    "current": ("current", "当前"),
    "good_example": ("✓ good", "✓ 良品"),
    "panel": ("Settings and selected reply", "设置与所选回复"),
    "engine": ("Engine", "引擎"),
    "card": ("Card", "卡片"),
    "card_name": ("Name", "名称"), "card_weights": ("Weights", "权重"), "card_licence": ("Licence", "许可证"),
    "card_device": ("Device", "设备"), "card_memory": ("Memory", "内存"), "card_modes": ("Modes", "模式"),
    "card_title": ("About this engine", "关于此引擎"),
    "mode": ("Mode", "模式"),
    "auto": ("Auto", "自动"),
    "direct": ("Direct", "直接分割"),
    "describe": ("Describe then segment", "先描述再分割"),
    "describe_plus": ("Describe-plus", "描述增强"),
    "explain": ("Segment then explain", "先分割再解释"),
    "chat_mode": ("Chat only", "仅对话"),
    "chat_masked": ("Answer with its mask", "回答与掩码"),
    "about_auto": ("Chooses the way to answer from your words.", "根据你的话选择回答方式。"),
    "about_direct": ("Only the mask, as fast as possible.", "只给掩码，速度最快。"),
    "about_describe": ("Puts what it sees into words first, then draws the mask.", "先用文字描述所见，再画掩码。"),
    "about_describe_plus": (
        "As Describe, guided by your sentence about what normal looks like.",
        "与“先描述”相同，并参考你对正常外观的描述。",
    ),
    "about_explain": ("Draws the mask at once, then explains it while you look.", "先画掩码，再边看边解释。"),
    "about_chat": ("Words only, no mask.", "只有文字，没有掩码。"),
    "normal": ("Normal looks like", "正常的样子"),
    "normal_hint": ("e.g. an even, matte metal surface", "例如：均匀的哑光金属表面"),
    "normal_tip": ("One sentence about a good part; used by Describe-plus.", "用一句话描述合格品；用于描述增强模式。"),
    "close": ("Look closely", "细看"),
    "close_tip": (
        "Large photos are looked at in tiles, too: finds what is tiny, and takes a minute or more for 12 megapixels without a GPU.",
        "大图也会分块查看：能发现微小的缺陷，但没有 GPU 时 1200 万像素需要一分钟以上。",
    ),
    "selected": ("Selected reply", "所选回复"),
    "threshold": ("Threshold", "阈值"),
    "threshold_tip": (
        "How sure a pixel must be to count as anomalous. New replies start from the value you set last.",
        "像素达到多大把握才算异常。新回复从你最后设定的值开始。",
    ),
    "alpha": ("Alpha", "Alpha 融合"),
    "alpha_tip": (
        "Balance of the two maps: 1 is the segmentation map, 0 the anomaly map. New replies start from the value you set last.",
        "两张图的权重：1 为分割图，0 为异常图。新回复从你最后设定的值开始。",
    ),
    "min_area": ("Smallest region (px)", "最小区域（像素）"),
    "min_area_tip": (
        "Regions with fewer pixels are dropped. New replies start from the value you set last.",
        "像素更少的区域会被忽略。新回复从你最后设定的值开始。",
    ),
    "no_selected": ("Masks will be listed here.", "掩码将列在这里。"),
    "next_reply": (
        "The sliders move this reply’s mask at once. A new reply starts from the values you set last by hand.",
        "滑块即时调整此回复的掩码。新回复从你最后手动设定的值开始。",
    ),
    "too_old": ("This reply is too old to be changed; use retry.", "此回复太旧，无法调整；请重试。"),
    "overlay": ("Overlay", "叠加"),
    "photo": ("Photo", "照片"),
    "mask": ("Mask", "掩码"),
    "heat": ("Heat map", "热力图"),
    "view": ("View", "视图"),
    "drag": ("Drag to reveal the photo underneath; click a region to point at it", "拖动以显示下方的原图；点击区域即可选中它"),
    "cut": ("How much of the picture covers the photo", "结果图覆盖原图的比例"),
    "enlarge": ("Enlarge", "放大"),
    "enlarged": ("{name}, enlarged", "{name}（放大）"),
    "close_large": ("Close", "关闭"),
    "scale": ("anomaly score", "异常得分"),
    "verdict_anomaly": ("Anomaly", "异常"),
    "verdict_normal": ("No anomaly found", "未发现异常"),
    "verdict_borderline": ("Nothing marked, borderline", "未标出异常，接近阈值"),
    "verdict_other": ("Nothing of what you ask for", "未发现您所指的缺陷"),
    "other_seen": ("something else was found", "但发现了其他缺陷"),
    "region_1": ("1 region", "1 个区域"),
    "finding_1": ("in 1 finding", "（属于 1 处发现）"),
    "finding_n": ("in {n} findings", "（属于 {n} 处发现）"),
    "finding_tip": (
        "Regions that lie close together are one finding; the words speak of findings.",
        "相距很近的区域算作一处发现；文字描述的是发现。",
    ),
    "region": ("Region {n}", "区域 {n}"),
    "region_n": ("{n} regions", "{n} 个区域"),
    "more_regions": ("{n} more regions", "另外 {n} 个区域"),
    "rest_regions": ("The {n} smallest are in regions.json.", "最小的 {n} 个见 regions.json。"),
    "of_image": ("{p} of the image", "占图像 {p}"),
    "highest": ("highest suspicion {s}, below the threshold {t}", "最高可疑度 {s}，低于阈值 {t}"),
    "highest_at": ("highest suspicion {s}, just at the threshold", "最高可疑度 {s}，恰为阈值"),
    "at_threshold": ("threshold {t}", "阈值 {t}"),
    "highest_small": ("highest suspicion {s}, only in spots below {a} px", "最高可疑度 {s}，仅见于小于 {a} 像素的点"),
    "mask_s": ("mask {s} s", "掩码 {s} 秒"),
    "words_s": ("words {s} s", "文字 {s} 秒"),
    "in_all_s": ("{s} s in all", "共 {s} 秒"),
    "total_s": ("{s} s", "{s} 秒"),
    "stopped": ("Stopped.", "已停止。"),
    "stopping": ("Stopping…", "正在停止…"),
    "thinking": ("Starting", "正在开始"),
    "preparing": ("Reading the photo", "正在读取照片"),
    "waiting": ("Waiting for {n} earlier question(s)", "前面还有 {n} 个问题"),
    "kind": ("Kind", "类型"),
    "kind_tip": ("Likeliest kind of defect, {p} sure", "最可能的缺陷类型，把握 {p}"),
    "place": ("Place", "位置"),
    "length_width": ("Size", "长 x 宽"),
    "area": ("Area", "面积"),
    "share": ("Share", "占比"),
    "score": ("Score", "得分"),
    "box": ("Box (px)", "边框（像素）"),
    "download": ("Download", "下载"),
    "edit": ("Edit", "编辑"),
    "ask_again": ("Ask again", "重新提问"),
    "more": ("more", "展开"),
    "less": ("less", "收起"),
    "copy": ("Copy", "复制"),
    "copied": ("Copied", "已复制"),
    "adjust": ("Adjust mask", "调整掩码"),
    "adjust_tip": ("Move this reply’s mask with the sliders on the side", "用侧栏滑块调整此回复的掩码"),
    "untrained": (
        "UNTRAINED weights: this engine’s masks would come from random weights, so no mask is drawn.",
        "未训练的权重：此引擎的掩码来自随机权重，因此不绘制掩码。",
    ),
    "untrained_verdict": ("No verdict: untrained weights", "无结论：权重未训练"),
    "upper left": ("upper left", "左上"), "top": ("top", "上方"), "upper right": ("upper right", "右上"),
    "left": ("left", "左侧"), "center": ("center", "中央"), "right": ("right", "右侧"),
    "lower left": ("lower left", "左下"), "bottom": ("bottom", "下方"), "lower right": ("lower right", "右下"),
    "no_image": (
        "There is no image yet. Add one with the + button below (or paste or drop it), or click an example.",
        "还没有图像。请用下面的 + 按钮添加（也可粘贴或拖入），或点击一个示例。",
    ),
    "no_question": ("Please segment the anomalies in this image.", "请分割这张图像中的异常。"),
    "engine_error": (
        "The engine stopped with an error ({e}). Retry, or choose another mode or image.",
        "引擎出错（{e}）。请重试，或换一种模式或图像。",
    ),
    "engine_missing": (
        "The engine “{name}” could not be loaded ({e}). Choose another engine, or install its weights.",
        "无法加载引擎“{name}”（{e}）。请选择其他引擎，或安装其权重。",
    ),
    "image_gone": (
        "{name} is no longer here: the server keeps a bounded number of photos, and this one was let go. Add it again with + to ask about it; the replies about it stay.",
        "{name} 已不在这里：服务器只保留有限数量的照片，这一张已被释放。请用 + 重新添加后再提问；已有的回复会保留。",
    ),
    "images_gone": ("Let go to make room: {names}. Add again with + to ask about it.", "为腾出空间已释放：{names}。如需提问请用 + 重新添加。"),
    "in_english": ("This engine answered in English, whatever the question’s language.", "此引擎仅以英文作答。"),
    "unreadable": ("{name}: {e}", "{name}：{e}"),
    "ask_other": ("Ask another engine", "换一个引擎回答"),
    "ask_other_tip": ("The same question, answered by another engine beside this reply", "由另一个引擎回答同一问题，显示在此回复旁边"),
    "engine_agvas-nano": ("Masks and words from the bundled AG-VAS model.", "由内置的 AG-VAS 模型给出掩码和文字。"),
    "engine_agvas-nano:rules": (
        "AG-VAS nano; rules on size, number and place in your sentence apply.", "AG-VAS nano，并应用你话中关于大小、数量和位置的规则。",
    ),
    "engine_agvas-nano:second-opinion": (
        "AG-VAS nano; a small expert looks a second time and warns when it disagrees.", "AG-VAS nano，另有小型专家模型复核，意见不一时提醒。",
    ),
    "engine_saa+": (
        "SAA+: candidates chosen by rules from your sentence; no training.", "SAA+：按你话中的规则筛选候选区域；无需训练。",
    ),
    "engine_saa": ("SAA: candidates by one plain word, without rules; no training.", "SAA：仅凭一个词给出候选区域，不用规则；无需训练。"),
    "engine_anomaly-ov-nano": (
        "A small expert: a defect, yes or no, and a heat map of where it looked; no mask.", "小型专家模型：判断有无缺陷，并给出关注位置的热力图；无掩码。",
    ),
    "loading_engine": ("The model is being loaded; your question waits for it", "正在加载模型，你的问题会等它就绪"),
    "whose_card": ("About {name}", "关于 {name}"),
    "empty_reply": (
        "The engine gave no words and no mask. Retry, or choose the mode Direct.",
        "引擎没有给出文字或掩码。请重试，或选择“直接分割”模式。",
    ),
    "busy": ("A reply is still running; stop it first.", "回复仍在进行；请先停止。"),
    "about_image": ("About image {n}, {name}.", "关于图像 {n}：{name}。"),
    "asked_before": ("Asked as before: “{words}”", "沿用之前的问题：“{words}”"),
    "nexts": ("Ask next", "继续提问"),
    "next_where": ("Where exactly?", "缺陷在哪里？"),
    "next_size": ("How big is it?", "有多大？"), "next_size_1": ("How big is region 1?", "区域 1 有多大？"),
    "next_cause": ("What may have caused it?", "是什么造成的？"),
    "next_largest": ("Only the largest", "只标出最大的"), "next_all": ("Show all again", "重新显示全部"),
    "next_good": ("This is a good part.", "这是良品。"),
    "next_sure": ("How sure are you?", "有多大把握？"), "next_lower": ("Lower the threshold", "降低阈值"),
    "told_sliders": (
        "Move the sliders under “Selected reply” for that: its mask follows at once, without asking again.",
        "请移动“所选回复”下的滑块：掩码会立即随之改变，无需重新提问。",
    ),
    "told_moved": (
        "The threshold is {value} now, in the mask above and in replies to come. {said}",
        "阈值现为 {value}，作用于上面的掩码和之后的回复。{said}",
    ),
    "told_zoom": (
        "Enlarge (⤢), above each picture, shows it large. “Look closely” makes the engine itself look at finer detail.",
        "点击图片上方的“放大”（⤢）可查看大图；“细看”则让引擎检查更细的细节。",
    ),
    "told_views": (
        "The buttons above each picture show it as overlay, plain photo, mask or heat map.",
        "图片上方的按钮可切换叠加、照片、掩码或热力图。",
    ),
    "told_files": (
        "The links under each picture save it: mask.png, map.png, and regions.json with each region’s kind, box in px, area and score.",
        "图片下方的链接可下载：mask.png、map.png 和 regions.json（含每个区域的类型、像素边框、面积和得分）。",
    ),
    "told_restart": (
        "“New chat”, at the top, forgets this conversation and its images.",
        "点击顶部的“新对话”会清除本次对话及其图像。",
    ),
    "told_unseen": ("Image {n}, {name}: not inspected yet.", "图像 {n}（{name}）：尚未检测。"),
    "words_before": ("The words are about the mask before the sliders were moved.", "文字说明的是移动滑块之前的掩码。"),
    "compare": ("Comparison", "对比"),
    "compare_measured": ("Measured on the two masks, not the model’s words", "由两张掩码测得，非模型文字"),
    "compare_anomaly": (
        "{name}: anomaly, score {s}, {regions}, {share} of the image.", "{name}：异常，得分 {s}，{regions}，占图像 {share}。",
    ),
    "compare_normal": ("{name}: no anomaly found, highest suspicion {s}.", "{name}：未发现异常，最高可疑度 {s}。"),
    "compare_borderline": (
        "{name}: nothing marked, borderline, highest suspicion {s}.", "{name}：未标出异常，接近阈值，最高可疑度 {s}。",
    ),
    "compare_both": ("{a} has {regions} {b}, and {area}.", "与{b}相比，{a}{regions}，{area}。"),
    "compare_more": ("{regions} more than", "多 {regions}"),
    "compare_fewer": ("{regions} fewer than", "少 {regions}"),
    "compare_as_many": ("as many regions as", "区域数相同"),
    "compare_larger": ("its marked share is {p} percentage points larger", "标出的占比高 {p} 个百分点"),
    "compare_smaller": ("its marked share is {p} percentage points smaller", "标出的占比低 {p} 个百分点"),
    "compare_equal_area": ("their marked shares are equal", "标出的占比相同"),
    "compare_better": ("By what is marked, {name} is the better one.", "就标出的内容而言，{name} 更好。"),
    "compare_same": ("Both have the same number of regions and the same marked share.", "两者的区域数和占比相同。"),
    "compare_settings": (
        "The two masks now have different slider values, so compare with care.", "两张掩码的滑块数值不同，请谨慎比较。",
    ),
    "no_such_image": (
        "There is no image {n} in this conversation (images: {count}). Name one that is there, or add it with +.",
        "本次对话中没有图像 {n}（共 {count} 张）。请指定已有的图像，或用 + 添加。",
    ),
    "one_image": (
        "There is only one image here so far. Add the other one with +, then ask to compare.",
        "目前只有一张图像。请用 + 添加另一张，然后再要求对比。",
    ),
    "scratch": ("scratch", "划痕"), "crack": ("crack", "裂纹"), "hole": ("hole", "孔洞"), "pit": ("pit", "凹坑"),
    "dent": ("dent", "凹陷"), "bump": ("bump", "凸起"), "stain": ("stain", "污渍"),
    "discoloration": ("discoloration", "变色"), "contamination": ("contamination", "异物"), "fiber": ("fiber", "纤维"),
    "missing part": ("missing part", "缺件"), "chipped edge": ("chipped edge", "崩边"),
    "deformation": ("deformation", "变形"), "misprint": ("misprint", "印刷缺陷"),
    "weave fault": ("weave fault", "织造缺陷"), "corrosion": ("corrosion", "腐蚀"), "burn": ("burn", "烧痕"),
    "blur": ("blur", "模糊"), "foreign patch": ("foreign patch", "异质斑块"),
    "clear": ("New chat", "新对话"),
}  # fmt: skip


def say(key: str, lang: str = "en", **values: object) -> str:
    """Return the page's words for `key`; an unknown key is returned as it is (e.g. a stage name of an engine)."""
    pair = WORDS.get(key)
    if pair is None:
        return key
    words = pair[1 if lang == "zh" else 0]
    return words.format(**values) if values else words


def is_chinese(words: str) -> bool:
    """Return whether there is a Chinese character in the words."""
    return any("\u4e00" <= c <= "\u9fff" for c in words)


def regions_said(n: int, lang: str) -> str:
    """Return a number of regions in words."""
    return say("region_1", lang) if n == 1 else say("region_n", lang, n=n)


def percent(share: float) -> str:
    """Return a percentage with as many digits as it needs."""
    if 0 < share < 0.095:
        return "<0.01 %" if share < 0.0095 else f"{share:.2f} %"
    return f"{share:.1f} %" if share < 10 else f"{share:.0f} %"


def about_engine(engine_id: str, lang: str = "en") -> str:
    """Return one line about an engine that a page offers; of a checkpoint nothing is known before it is loaded."""
    return say(f"engine_{engine_id}", lang) if f"engine_{engine_id}" in WORDS else engine_id


def mode_name(mode: str, lang: str = "en") -> str:
    """Return a mode's name on the page."""
    return say("chat_mode" if mode == "chat" else mode, lang)
