#include "overlay.hpp"

#include <cairo.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numbers>

#include "enlarge.hpp"
#include "mask_outline.hpp"
#include "overlay_canvas.hpp"
#include "overlay_legend.hpp"

namespace promiseg::cli {
namespace {

constexpr Index kReadableSide = 900;  // what small images are enlarged to, at least
constexpr Index kCairoLimit = 32767;  // largest side of a cairo image surface
constexpr double kFillAlpha = 0.25;
constexpr double kHaloAlpha = 0.55;
constexpr double kHaloWidth = 1;  // on either side of a line
constexpr double kBoxLineWidth = 1.5;
constexpr double kPointRadius = 7;

constexpr Color kBlack{0, 0, 0};
constexpr Color kWhite{1, 1, 1};
constexpr Color kBackgroundPoint{0.84, 0.10, 0.11};
constexpr Color kStrip{0.075, 0.08, 0.09};

constexpr std::array<std::array<std::uint8_t, 3>, 7> kPalette{{{86, 180, 233},
                                                               {230, 159, 0},
                                                               {0, 158, 115},
                                                               {204, 121, 167},
                                                               {240, 228, 66},
                                                               {213, 94, 0},
                                                               {0, 114, 178}}};

// ---- objects ---------------------------------------------------------------------------------

/// The enlarged image's place in the picture and the size of things drawn over it.
struct Stage {
  double width = 0;
  double height = 0;
  double scale = 1;
  double unit = 1;  // output pixels that a design pixel takes
};

struct Position {
  double x = 0;
  double y = 0;
};

/// Draws one closed outline as smooth curves or, where the image is not enlarged, straight lines.
/// Lines stay `inset` away from the image's edge, so that a border that runs along it is not cut
/// to half its width.
class OutlinePath {
 public:
  OutlinePath(cairo_t* pen, const Stage& stage, double inset)
      : pen_(pen),
        stage_(stage),
        inset_x_(std::min(inset, stage.width / 2)),
        inset_y_(std::min(inset, stage.height / 2)) {}

  /// Begins a new piece in front of corner `index`.
  void begin(std::span<const OutlinePoint> outline, std::size_t index) const {
    const Position at = entry(outline, index);
    cairo_move_to(pen_, at.x, at.y);
  }

  /// Goes on around corner `index`, up to where the next one begins.
  void pass(std::span<const OutlinePoint> outline, std::size_t index) const {
    const std::size_t next = (index + 1) % outline.size();
    if (stage_.scale > 1) round_corner(outline, index);
    const Position at = entry(outline, next);
    cairo_line_to(pen_, at.x, at.y);
  }

 private:
  /// The curve leaves the polygon by at most a tenth of an image pixel.
  void round_corner(std::span<const OutlinePoint> outline, std::size_t index) const {
    const OutlinePoint& corner = outline[index];
    const Position from = entry(outline, index);
    const Position middle = place({static_cast<double>(corner.x), static_cast<double>(corner.y)});
    const Position to = place(half_step(corner, outline[(index + 1) % outline.size()]));
    // The cubic that equals the quadratic curve from, middle, to.
    cairo_curve_to(pen_, from.x + (middle.x - from.x) * 2 / 3, from.y + (middle.y - from.y) * 2 / 3,
                   to.x + (middle.x - to.x) * 2 / 3, to.y + (middle.y - to.y) * 2 / 3, to.x, to.y);
  }

  /// Where the rounding of a corner begins; the corner itself if it is not rounded.
  Position entry(std::span<const OutlinePoint> outline, std::size_t index) const {
    const OutlinePoint& corner = outline[index];
    if (stage_.scale == 1)
      return place({static_cast<double>(corner.x), static_cast<double>(corner.y)});
    return place(half_step(corner, outline[(index + outline.size() - 1) % outline.size()]));
  }

  /// Half a marching-squares segment from a corner towards another one, in half pixels.
  static Position half_step(const OutlinePoint& from, const OutlinePoint& towards) {
    const int dx = (towards.x > from.x) - (towards.x < from.x);
    const int dy = (towards.y > from.y) - (towards.y < from.y);
    const double length = dx != 0 && dy != 0 ? 0.5 : 1.0;
    return {from.x + length * dx, from.y + length * dy};
  }

  Position place(const Position& half_pixels) const {
    return {std::clamp(half_pixels.x * stage_.scale / 2, inset_x_, stage_.width - inset_x_),
            std::clamp(half_pixels.y * stage_.scale / 2, inset_y_, stage_.height - inset_y_)};
  }

  cairo_t* pen_;
  const Stage& stage_;
  double inset_x_;
  double inset_y_;
};

/// Tints the inside of the outlines, which an enlarged picture shows smooth.
void fill_outlines(cairo_t* pen, const Stage& stage, const MaskOutlines& outlines) {
  const OutlinePath path(pen, stage, 0);
  cairo_new_path(pen);
  for (std::size_t i = 0; i < outlines.ends.size(); ++i) {
    const auto outline = outlines.outline(i);
    path.begin(outline, 0);
    for (std::size_t k = 0; k < outline.size(); ++k) path.pass(outline, k);
    cairo_close_path(pen);
  }
  cairo_set_fill_rule(pen, CAIRO_FILL_RULE_EVEN_ODD);
  cairo_fill(pen);
}

/// Tints the pixels of a mask in a picture that is not enlarged: the same as `fill_outlines`,
/// but for the corners under the outline, in a time that does not depend on the shape.
void fill_pixels(cairo_t* pen, MaskView mask, const PixelRange& range) {
  if (range.x0 == range.x1) return;
  const std::unique_ptr<cairo_surface_t, CairoDelete> coverage(
      cairo_image_surface_create(CAIRO_FORMAT_A8, static_cast<int>(range.x1 - range.x0),
                                 static_cast<int>(range.y1 - range.y0)));
  require(cairo_surface_status(coverage.get()) == CAIRO_STATUS_SUCCESS, ErrorCode::unsupported,
          "overlay: no memory for a mask of shape ", shape_text(mask.extents()));
  unsigned char* data = cairo_image_surface_get_data(coverage.get());
  const int pitch = cairo_image_surface_get_stride(coverage.get());
  for (Index y = range.y0; y < range.y1; ++y) {
    unsigned char* to = data + (y - range.y0) * pitch;
    for (Index x = range.x0; x < range.x1; ++x) *to++ = mask(y, x) != 0 ? 255 : 0;
  }
  cairo_surface_mark_dirty(coverage.get());
  cairo_mask_surface(pen, coverage.get(), static_cast<double>(range.x0),
                     static_cast<double>(range.y0));
}

/// Strokes every outline, in portions: cairo's time grows faster than the length of a path.
void stroke_outlines(cairo_t* pen, const Stage& stage, const MaskOutlines& outlines,
                     double line_width) {
  constexpr std::size_t kPortion = 512;
  const OutlinePath path(pen, stage, kLineWidth / 2 * stage.unit);
  cairo_set_line_width(pen, line_width);
  cairo_new_path(pen);
  std::size_t pending = 0;
  const auto flush = [&] {
    cairo_stroke(pen);
    pending = 0;
  };
  for (std::size_t i = 0; i < outlines.ends.size(); ++i) {
    const auto outline = outlines.outline(i);
    const bool in_one_piece = outline.size() <= kPortion;
    if (!in_one_piece || pending + outline.size() > kPortion) flush();
    path.begin(outline, 0);
    for (std::size_t k = 0; k < outline.size(); ++k) {
      if (pending == kPortion) {
        flush();
        path.begin(outline, k);
      }
      path.pass(outline, k);
      ++pending;
    }
    if (in_one_piece) cairo_close_path(pen);
  }
  flush();
}

void outline_object(cairo_t* pen, const Stage& stage, const MaskOutlines& outlines,
                    const Color& color) {
  cairo_save(pen);
  cairo_set_line_join(pen, CAIRO_LINE_JOIN_ROUND);
  cairo_set_line_cap(pen, CAIRO_LINE_CAP_ROUND);  // where the pieces of long outlines meet
  set_color(pen, kBlack, kHaloAlpha);
  stroke_outlines(pen, stage, outlines, (kLineWidth + 2 * kHaloWidth) * stage.unit);
  set_color(pen, color);
  stroke_outlines(pen, stage, outlines, kLineWidth * stage.unit);
  cairo_restore(pen);
}

// ---- prompts ---------------------------------------------------------------------------------

/// Where a prompt coordinate (0 is the centre of the first pixel) lies along one axis; far
/// outside it stays just out of sight, within what cairo can hold.
double prompt_position(double coordinate, const Stage& stage, double size) {
  const double margin = 4 * kPointRadius * stage.unit;
  return std::clamp((coordinate + 0.5) * stage.scale, -margin, size + margin);
}

/// One side of a box. The dashes are fitted to its length, so that corners are always drawn.
void dashed_side(cairo_t* pen, const Position& from, const Position& to, double unit) {
  const double distance = std::hypot(to.x - from.x, to.y - from.y);
  if (distance <= 0) return;
  // Half a line width more at either end fills the corner.
  const double extra = kBoxLineWidth * unit / 2;
  const Position more{(to.x - from.x) / distance * extra, (to.y - from.y) / distance * extra};
  const double length = distance + 2 * extra;
  const double period = length / std::max(1.0, std::round(length / (10 * unit)));
  const std::array<double, 2> dashes{0.6 * period, 0.4 * period};
  cairo_set_dash(pen, dashes.data(), static_cast<int>(dashes.size()), dashes[0] / 2);
  cairo_move_to(pen, from.x - more.x, from.y - more.y);
  cairo_line_to(pen, to.x + more.x, to.y + more.y);
  cairo_stroke(pen);
}

void draw_box(cairo_t* pen, const Stage& stage, const std::array<double, 4>& box,
              const Color& color) {
  // On pixel centres thin straight lines are sharp.
  const auto sharp = [](double position) { return std::floor(position) + 0.5; };
  const double x0 = sharp(prompt_position(box[0], stage, stage.width));
  const double y0 = sharp(prompt_position(box[1], stage, stage.height));
  const double x1 = sharp(prompt_position(box[2], stage, stage.width));
  const double y1 = sharp(prompt_position(box[3], stage, stage.height));
  const std::array<Position, 4> corners{{{x0, y0}, {x1, y0}, {x1, y1}, {x0, y1}}};
  cairo_set_line_join(pen, CAIRO_LINE_JOIN_MITER);

  set_color(pen, kBlack, kHaloAlpha * 0.7);
  cairo_set_line_width(pen, (kBoxLineWidth + 2 * kHaloWidth) * stage.unit);
  cairo_rectangle(pen, x0, y0, x1 - x0, y1 - y0);
  cairo_stroke(pen);

  set_color(pen, color);
  cairo_set_line_width(pen, kBoxLineWidth * stage.unit);
  for (std::size_t i = 0; i < corners.size(); ++i) {
    dashed_side(pen, corners[i], corners[(i + 1) % corners.size()], stage.unit);
  }
  cairo_set_dash(pen, nullptr, 0, 0);
}

void draw_point(cairo_t* pen, const Stage& stage, const OverlayPoint& point, const Color& color) {
  const bool foreground = point.label == 1;
  const double unit = stage.unit;
  const double x = prompt_position(point.x, stage, stage.width);
  const double y = prompt_position(point.y, stage, stage.height);
  const auto disc = [&](double radius, const Color& paint, double alpha) {
    cairo_new_path(pen);
    cairo_arc(pen, x, y, radius * unit, 0, 2 * std::numbers::pi);
    set_color(pen, paint, alpha);
    cairo_fill(pen);
  };
  disc(kPointRadius + 1, kBlack, kHaloAlpha);
  disc(kPointRadius, kWhite, 1);
  disc(kPointRadius - 1.6, foreground ? color : kBackgroundPoint, 1);

  const double arm = (kPointRadius - 3.3) * unit;
  const auto sign = [&](const Color& paint, double width) {
    cairo_set_line_width(pen, width * unit);
    set_color(pen, paint);
    cairo_move_to(pen, x - arm, y);
    cairo_line_to(pen, x + arm, y);
    if (foreground) {
      cairo_move_to(pen, x, y - arm);
      cairo_line_to(pen, x, y + arm);
    }
    cairo_stroke(pen);
  };
  sign(foreground ? kBlack : kWhite, 1.6);
}

void check_object(const OverlayObject& object, std::size_t index, ImageView image) {
  if (!object.mask.empty()) {
    require(object.mask.extent(0) == image.extent(0) && object.mask.extent(1) == image.extent(1),
            ErrorCode::shape_mismatch, "overlay: the mask of object ", index + 1, " has shape ",
            shape_text(object.mask.extents()), ", the image ", shape_text(image.extents()));
  }
  for (const OverlayPoint& point : object.points) {
    require(std::isfinite(point.x) && std::isfinite(point.y), ErrorCode::invalid_argument,
            "overlay: object ", index + 1, " has a point at (", point.x, ", ", point.y,
            "); expected finite coordinates");
  }
  if (object.box) {
    require(std::all_of(object.box->begin(), object.box->end(),
                        [](double value) { return std::isfinite(value); }),
            ErrorCode::invalid_argument, "overlay: the box of object ", index + 1,
            " has a coordinate that is not finite");
  }
}

}  // namespace

Index overlay_scale(ImageSize size) {
  require(size.height > 0 && size.width > 0, ErrorCode::shape_mismatch,
          "overlay_scale: expected a positive height and width, got ", size.height, " x ",
          size.width);
  const Index longest = std::max(size.height, size.width);
  return longest >= kReadableSide ? 1 : (kReadableSide + longest - 1) / longest;
}

std::array<std::uint8_t, 3> overlay_color(std::size_t index) {
  std::array<std::uint8_t, 3> color = kPalette[index % kPalette.size()];
  // How far towards white (above 0) or black: 0 for the first round, then the van der Corput
  // sequence, which puts each new shade between those there are.
  double spread = 0;
  double digit = 0.5;
  for (std::size_t rest = index / kPalette.size(); rest > 0; rest /= 2, digit /= 2) {
    if (rest % 2 == 1) spread += digit;
  }
  const double shade = spread <= 0.5 ? spread * 0.95 : (spread - 1) * 0.9;
  for (std::uint8_t& value : color) {
    const double target = shade > 0 ? 255 : 0;
    value = static_cast<std::uint8_t>(std::lround(value + (target - value) * std::abs(shade)));
  }
  return color;
}

Image draw_overlay(ImageView image, std::span<const OverlayObject> objects) {
  require_image(image);
  for (std::size_t i = 0; i < objects.size(); ++i) check_object(objects[i], i, image);

  const Index scale = overlay_scale({image.extent(0), image.extent(1)});
  const Index width = image.extent(1) * scale;
  const Index height = image.extent(0) * scale;
  const bool image_fits = width <= kCairoLimit && height <= kCairoLimit;
  const Legend legend = lay_out_legend(objects, width, height);
  require(image_fits && height + legend.height <= kCairoLimit, ErrorCode::unsupported,
          "overlay: a picture of ", legend.width, " x ", height + legend.height,
          " pixels is too large; the limit is ", kCairoLimit, " a side");

  Canvas canvas(legend.width, height + legend.height);
  cairo_t* pen = canvas.pen();
  set_color(pen, kStrip);
  cairo_paint(pen);
  canvas.put(enlarge(image, scale));

  Stage stage{static_cast<double>(width), static_cast<double>(height), static_cast<double>(scale),
              1};
  stage.unit = std::sqrt(std::max(1.0, std::max(stage.width, stage.height) / kDesignSide));

  cairo_save(pen);
  cairo_rectangle(pen, 0, 0, stage.width, stage.height);
  cairo_clip(pen);
  // Layer by layer: no object's tint covers another one's outline, and prompts stay on top.
  std::vector<MaskOutlines> outlines;
  for (std::size_t i = 0; i < objects.size(); ++i) {
    outlines.push_back(trace_outlines(objects[i].mask));
    set_color(pen, object_color(i), kFillAlpha);
    if (scale == 1) {
      fill_pixels(pen, objects[i].mask, outlines.back().range);
    } else {
      fill_outlines(pen, stage, outlines.back());
    }
  }
  for (std::size_t i = 0; i < objects.size(); ++i) {
    outline_object(pen, stage, outlines[i], object_color(i));
  }
  for (std::size_t i = 0; i < objects.size(); ++i) {
    if (objects[i].box) draw_box(pen, stage, *objects[i].box, object_color(i));
  }
  for (std::size_t i = 0; i < objects.size(); ++i) {
    for (const OverlayPoint& point : objects[i].points) {
      if (point.label == 0 || point.label == 1) draw_point(pen, stage, point, object_color(i));
    }
  }
  cairo_restore(pen);

  if (legend.height > 0) draw_legend(pen, legend, stage.height);
  canvas.check();
  return canvas.image();
}

}  // namespace promiseg::cli
