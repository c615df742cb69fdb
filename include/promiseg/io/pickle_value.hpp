// What a checkpoint's pickle may hold once it is read: plain data, storages and tensors.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "promiseg/core/dtype.hpp"

namespace promiseg {

/// Number of a value in its `PickleTree`. Values refer to each other by number, so shared and
/// cyclic structures cost nothing to hold and nothing to destroy.
using PickleId = std::uint32_t;

/// What a name from Python's module tree stands for. Nothing outside this list is ever accepted.
enum class GlobalRole {
  ordered_dict,
  rebuild_tensor,
  rebuild_tensor_v2,
  rebuild_parameter,
  storage_type,
  dtype,
  device,
  size,
};

struct AllowedGlobal {
  std::string_view module;
  std::string_view name;
  GlobalRole role;
  DType dtype = DType::u8;  ///< of `storage_type` and `dtype` only
};

/// The complete list of globals a checkpoint may name.
inline constexpr std::array kAllowedGlobals{
    AllowedGlobal{"collections", "OrderedDict", GlobalRole::ordered_dict},
    AllowedGlobal{"torch._utils", "_rebuild_tensor", GlobalRole::rebuild_tensor},
    AllowedGlobal{"torch._utils", "_rebuild_tensor_v2", GlobalRole::rebuild_tensor_v2},
    AllowedGlobal{"torch._utils", "_rebuild_parameter", GlobalRole::rebuild_parameter},
    AllowedGlobal{"torch", "device", GlobalRole::device},
    AllowedGlobal{"torch", "Size", GlobalRole::size},
    AllowedGlobal{"torch", "FloatStorage", GlobalRole::storage_type, DType::f32},
    AllowedGlobal{"torch", "HalfStorage", GlobalRole::storage_type, DType::f16},
    AllowedGlobal{"torch", "BFloat16Storage", GlobalRole::storage_type, DType::bf16},
    AllowedGlobal{"torch", "DoubleStorage", GlobalRole::storage_type, DType::f64},
    AllowedGlobal{"torch", "LongStorage", GlobalRole::storage_type, DType::i64},
    AllowedGlobal{"torch", "IntStorage", GlobalRole::storage_type, DType::i32},
    AllowedGlobal{"torch", "ShortStorage", GlobalRole::storage_type, DType::i16},
    AllowedGlobal{"torch", "CharStorage", GlobalRole::storage_type, DType::i8},
    AllowedGlobal{"torch", "ByteStorage", GlobalRole::storage_type, DType::u8},
    AllowedGlobal{"torch", "BoolStorage", GlobalRole::storage_type, DType::boolean},
    AllowedGlobal{"torch.storage", "UntypedStorage", GlobalRole::storage_type, DType::u8},
    AllowedGlobal{"torch", "float32", GlobalRole::dtype, DType::f32},
    AllowedGlobal{"torch", "float16", GlobalRole::dtype, DType::f16},
    AllowedGlobal{"torch", "bfloat16", GlobalRole::dtype, DType::bf16},
    AllowedGlobal{"torch", "float64", GlobalRole::dtype, DType::f64},
    AllowedGlobal{"torch", "int64", GlobalRole::dtype, DType::i64},
    AllowedGlobal{"torch", "int32", GlobalRole::dtype, DType::i32},
    AllowedGlobal{"torch", "int16", GlobalRole::dtype, DType::i16},
    AllowedGlobal{"torch", "int8", GlobalRole::dtype, DType::i8},
    AllowedGlobal{"torch", "uint8", GlobalRole::dtype, DType::u8},
    AllowedGlobal{"torch", "bool", GlobalRole::dtype, DType::boolean},
};

struct PickleNone {};
/// An integer beyond 64 bits: its two's complement bytes, least significant first.
struct PickleBigInteger {
  std::string bytes;
};
struct PickleBytes {
  std::string bytes;
};
struct PickleTuple {
  std::vector<PickleId> items;
};
struct PickleList {
  std::vector<PickleId> items;
};
/// Entries in the order they were set; a key may occur twice in a hostile file.
struct PickleDict {
  std::vector<std::pair<PickleId, PickleId>> entries;
  bool ordered = false;  ///< a `collections.OrderedDict`
};
/// A device such as `cuda:0`; which one does not matter to a reader.
struct PickleDevice {};
struct PickleGlobal {
  const AllowedGlobal* what = nullptr;
};

/// Names a storage that lies outside the pickle; counts are in elements of `dtype`. Only claims:
/// nothing here has been compared with the data.
struct PickleStorage {
  DType dtype = DType::u8;
  PickleId key = 0;  ///< a string
  std::uint64_t count = 0;
  std::uint64_t view_offset = 0;  ///< first element this storage sees (0, but for old views)
  std::uint64_t view_count = 0;   ///< elements it sees
};

/// A strided look into a storage, in elements. Only claims, as above; at most 64 axes, and as
/// many strides as sizes.
struct PickleTensor {
  PickleId storage = 0;
  std::uint64_t offset = 0;
  std::vector<std::uint64_t> sizes;
  std::vector<std::uint64_t> strides;
};

using PickleValue = std::variant<PickleNone, bool, std::int64_t, double, std::string, PickleBytes,
                                 PickleBigInteger, PickleTuple, PickleList, PickleDict,
                                 PickleStorage, PickleTensor, PickleDevice, PickleGlobal>;

/// All values of one pickle. The structure may be shared or cyclic: whoever walks it must bound
/// the walk.
struct PickleTree {
  std::vector<PickleValue> values;
  PickleId root = 0;

  const PickleValue& operator[](PickleId id) const { return values[id]; }

  /// The value if it is a `T`, else null.
  template <class T>
  const T* find(PickleId id) const {
    return std::get_if<T>(&values[id]);
  }
};

/// "a list", "a string", ... for messages.
inline std::string_view kind_name(const PickleValue& value) {
  static constexpr std::array<std::string_view, std::variant_size_v<PickleValue>> kNames{
      "None",
      "a boolean",
      "an integer",
      "a number",
      "a string",
      "bytes",
      "a large integer",
      "a tuple",
      "a list",
      "a dictionary",
      "a storage",
      "a tensor",
      "a device",
      "the name of a type or function"};
  return kNames[value.index()];
}

/// Text from a file made fit for a message: other than printable ASCII is escaped, and what is
/// longer than `limit` bytes is cut.
inline std::string printable(std::string_view text, std::size_t limit = 80) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string result;
  for (char c : text.substr(0, limit)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7F) {
      result += c;
    } else {
      result += "\\x";
      result += kDigits[byte >> 4];
      result += kDigits[byte & 0xF];
    }
  }
  if (text.size() > limit) result += "...";
  return result;
}

}  // namespace promiseg
