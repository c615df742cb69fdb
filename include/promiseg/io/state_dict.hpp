// Finds the named tensors in an unpickled checkpoint and fetches their data.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "promiseg/io/checkpoint_tensor.hpp"
#include "promiseg/io/pickle_value.hpp"

namespace promiseg {

/// What a `torch.save` file holds.
struct TorchCheckpoint {
  std::vector<CheckpointTensor> tensors;  ///< in the order of the file
  std::vector<std::string> skipped;       ///< keys of entries that are no weights, for messages

  /// True if there is a tensor of that name.
  bool contains(std::string_view name) const { return find(name) != tensors.end(); }

  /// Throws `not_found` naming the tensor.
  const CheckpointTensor& at(std::string_view name) const {
    const auto tensor = find(name);
    require(tensor != tensors.end(), ErrorCode::not_found, "the checkpoint has no tensor \"", name,
            "\"");
    return *tensor;
  }

 private:
  std::vector<CheckpointTensor>::const_iterator find(std::string_view name) const {
    return std::find_if(tensors.begin(), tensors.end(),
                        [&](const CheckpointTensor& tensor) { return tensor.name == name; });
  }
};

namespace detail {

/// Keys under which training programs keep the state dict, in the order they are looked for.
inline constexpr std::array<std::string_view, 4> kStateDictKeys{"state_dict", "model_state_dict",
                                                                "model", "net"};
inline constexpr std::size_t kMaxWrappers = 4;
inline constexpr std::size_t kMaxNameLength = 1024;

/// Counts the bytes that reading a file produces. Storages may be compressed and tensors may
/// repeat their elements, but not without bound.
class ByteBudget {
 public:
  explicit ByteBudget(std::uint64_t file_size)
      : limit_(saturating_add(kFree, saturating_multiply(kPerByte, file_size))) {}

  void charge(std::uint64_t bytes, std::string_view what) {
    used_ = saturating_add(used_, bytes);
    require(used_ <= limit_, ErrorCode::unsupported, what, ": a file of this size may unfold to ",
            limit_, " bytes, but this would take it to ", used_);
  }

 private:
  static constexpr std::uint64_t kFree = std::uint64_t{256} << 20;
  static constexpr std::uint64_t kPerByte = 32;

  std::uint64_t limit_;
  std::uint64_t used_ = 0;
};

/// A tensor of the state dict, by the numbers of its values.
struct NamedEntry {
  std::string_view name;
  const PickleTensor* tensor = nullptr;
};

struct StateDictEntries {
  std::vector<NamedEntry> tensors;
  std::vector<std::string> skipped;
};

inline bool is_state_dict_key(std::string_view key) {
  return std::find(kStateDictKeys.begin(), kStateDictKeys.end(), key) != kStateDictKeys.end();
}

/// True for a dictionary that holds tensors, or a dictionary under one of the usual keys.
inline bool may_hold_weights(const PickleTree& tree, const PickleDict& dict) {
  return std::any_of(dict.entries.begin(), dict.entries.end(), [&](const auto& entry) {
    const auto* key = tree.find<std::string>(entry.first);
    if (key == nullptr) return false;
    return tree.find<PickleTensor>(entry.second) != nullptr ||
           (is_state_dict_key(*key) && tree.find<PickleDict>(entry.second) != nullptr);
  });
}

/// The dictionary kept under one of the usual keys, if there is one.
inline const PickleDict* wrapped_state_dict(const PickleTree& tree, const PickleDict& dict) {
  for (std::string_view wanted : kStateDictKeys) {
    for (const auto& [key_id, value_id] : dict.entries) {
      const auto* key = tree.find<std::string>(key_id);
      if (key == nullptr || *key != wanted) continue;
      const auto* inner = tree.find<PickleDict>(value_id);
      if (inner != nullptr && may_hold_weights(tree, *inner)) return inner;
    }
  }
  return nullptr;
}

inline std::string key_text(const PickleTree& tree, PickleId key) {
  if (const auto* text = tree.find<std::string>(key)) return printable(*text);
  if (const auto* number = tree.find<std::int64_t>(key)) return std::to_string(*number);
  return "(" + std::string(kind_name(tree[key])) + ")";
}

/// Unwraps the state dict and lists its tensors. Throws `bad_weights` if there are none.
inline StateDictEntries find_state_dict(const PickleTree& tree) {
  const auto* dict = tree.find<PickleDict>(tree.root);
  require(dict != nullptr, ErrorCode::bad_weights,
          "expected a dictionary of named tensors (a state dict), the checkpoint holds ",
          kind_name(tree[tree.root]));
  StateDictEntries found;
  for (std::size_t depth = 0; depth < kMaxWrappers; ++depth) {
    const PickleDict* inner = wrapped_state_dict(tree, *dict);
    if (inner == nullptr) break;
    for (const auto& [key, value] : dict->entries) {
      if (tree.find<PickleDict>(value) != inner) found.skipped.push_back(key_text(tree, key));
    }
    dict = inner;
  }

  std::unordered_set<std::string_view> names;
  for (const auto& [key, value] : dict->entries) {
    const auto* name = tree.find<std::string>(key);
    const auto* tensor = tree.find<PickleTensor>(value);
    if (name == nullptr || tensor == nullptr) {
      found.skipped.push_back(key_text(tree, key));
      continue;
    }
    require(name->size() <= kMaxNameLength, ErrorCode::bad_format, "the tensor name \"",
            printable(*name), "\" is longer than ", kMaxNameLength, " bytes");
    require(names.insert(*name).second, ErrorCode::bad_format, "two tensors are named \"",
            printable(*name), "\"");
    found.tensors.push_back({*name, tensor});
  }
  if (found.tensors.empty()) {
    std::string keys;
    for (std::size_t i = 0; i < found.skipped.size() && i < 8; ++i) {
      keys += (i == 0 ? "" : ", ") + found.skipped[i];
    }
    fail(ErrorCode::bad_weights, "expected named tensors (a state dict), the dictionary holds ",
         found.skipped.empty() ? "nothing" : "none, only: " + keys);
  }
  return found;
}

/// Drops the `module.` that data-parallel training puts before every name.
inline void strip_module_prefix(std::vector<CheckpointTensor>& tensors) {
  static constexpr std::string_view kPrefix = "module.";
  const bool shared =
      std::all_of(tensors.begin(), tensors.end(), [](const CheckpointTensor& tensor) {
        return tensor.name.size() > kPrefix.size() && tensor.name.starts_with(kPrefix);
      });
  if (!shared) return;
  for (CheckpointTensor& tensor : tensors) tensor.name.erase(0, kPrefix.size());
}

/// Checks all tensors of the state dict, then reads one storage after the other. `storages` has
/// `size(key)` and `read(key)`, a range of bytes; both throw `bad_format` for a missing key.
template <class Storages>
TorchCheckpoint fetch_state_dict(const PickleTree& tree, const Storages& storages,
                                 ByteBudget& budget) {
  StateDictEntries found = find_state_dict(tree);
  TorchCheckpoint checkpoint;
  checkpoint.skipped = std::move(found.skipped);
  checkpoint.tensors.resize(found.tensors.size());
  std::map<std::string_view, std::vector<std::size_t>> users;
  for (std::size_t i = 0; i < found.tensors.size(); ++i) {
    const auto& [name, tensor] = found.tensors[i];
    const auto& storage = *tree.find<PickleStorage>(tensor->storage);
    const std::string_view key = *tree.find<std::string>(storage.key);
    const std::string what = "tensor \"" + printable(name) + "\"";
    try {
      const std::uint64_t available = storages.size(key);
      budget.charge(checked_bytes(*tensor, storage, available), what);
      std::vector<std::size_t>& sharing = users[key];
      if (sharing.empty()) budget.charge(available, what);
      sharing.push_back(i);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::bad_format) throw;
      fail(error.code(), what, ": ", error.what());
    }
    CheckpointTensor& result = checkpoint.tensors[i];
    result.name = name;
    result.dtype = storage.dtype;
    for (std::uint64_t size : tensor->sizes) result.shape.push_back(static_cast<Index>(size));
  }
  for (const auto& [key, sharing] : users) {
    const auto data = storages.read(key);
    for (std::size_t i : sharing) {
      const PickleTensor& tensor = *found.tensors[i].tensor;
      const auto& storage = *tree.find<PickleStorage>(tensor.storage);
      checkpoint.tensors[i].bytes = gather(tensor, storage, data);
    }
  }
  strip_module_prefix(checkpoint.tensors);
  return checkpoint;
}

}  // namespace detail
}  // namespace promiseg
