/* Rows side by side: a tile holds V_LANES rows to a group, a row in each lane, class after class.
 *
 *   tile[(group * n + j) * V_LANES + lane]
 *
 * Rows that lie side by side in memory already (a class axis that is not the last) are copied by
 * vectors, contiguous ones are transposed in registers. Short contiguous rows go by `fold` of them
 * in one lane of what is transposed, so that its vectors are full: row 0 to fold - 1 are lane 0 of
 * the first `fold` groups. Nothing outside the rows is read or written. */

typedef struct {
    int64_t groups, fold;
} tile_map;

/* The row in lane 0 of a group; the next lane holds the row `fold` further. */
FS_INLINE int64_t first_row(const tile_map *map, int64_t group)
{
    return group / map->fold * map->fold * V_LANES + group % map->fold;
}

/* How many lanes of a group have a row. */
FS_INLINE int64_t rows_of_group(const fs_rows *rows, const tile_map *map, int64_t group)
{
    const int64_t left = (rows->rows - first_row(map, group) + map->fold - 1) / map->fold;
    return left < V_LANES ? left : V_LANES;
}

/* The smallest of the folds that divide the groups and waste the least. */
FS_INLINE int64_t best_fold(int64_t n, int64_t groups)
{
    int64_t best = 1, best_waste = V_LANES; /* lanes that stay empty, to the V_LANES rows */
    for (int64_t fold = 1; fold <= V_LANES && fold <= groups; fold *= 2) {
        const int64_t over = fold * n % V_LANES, waste = (over ? V_LANES - over : 0) * V_LANES;
        if (groups % fold == 0 && waste / fold < best_waste) {
            best = fold;
            best_waste = waste / fold;
        }
    }
    return best;
}

FS_INLINE int lies_packed(int64_t n, int64_t step, int64_t class_step)
{
    return n > 1 && class_step == 1 && step == n;
}

FS_INLINE tile_map map_tile(const fs_rows *rows)
{
    tile_map map = {(rows->rows + V_LANES - 1) / V_LANES, 1};
    if (rows->rows % V_LANES == 0 && lies_packed(rows->n, rows->x_step, rows->x_class) &&
        (!rows->y || lies_packed(rows->n, rows->y_step, rows->y_class)) &&
        (!rows->other || lies_packed(rows->n, rows->other_step, rows->other_class)))
        map.fold = best_fold(rows->n, map.groups);
    return map;
}

/* Up to V_LANES strips of `length` elements, `step` apart. `packed` elements from x on may be read,
 * or where that is 0, nothing beyond a strip's own. */
FS_ONCE void load_strips(const real *x, int64_t step, int64_t length, int64_t strips,
                           int64_t packed, real *tile)
{
    v_t a[V_LANES];
    for (int64_t at = 0; at < length; at += V_LANES) {
        if (packed && strips == V_LANES && (V_LANES - 1) * step + at + V_LANES <= packed) {
            for (int l = 0; l < V_LANES; l++) {
                a[l] = v_load(x + l * step + at);
                /* of the next strips, by number: there need not be any */
                FS_PREFETCH((uintptr_t)(x + l * step + at) + (uintptr_t)step * sizeof(v_t));
            }
        } else {
            FS_ROLLED
            for (int l = 0; l < V_LANES; l++) {
                const int64_t left = (packed ? packed - l * step : length) - at;
                a[l] = v_set1(0);
                if (l < strips)
                    a[l] = left >= V_LANES ? v_load(x + l * step + at)
                                           : v_load_part(x + l * step + at, left, a[l]);
            }
        }
        v_transpose(a);
        for (int i = 0; i < V_LANES; i++)
            v_store(tile + (at + i) * V_LANES, a[i]);
    }
}

/* Back again. A packed strip's last vector spills into the next strip, which is written after it:
 * hence the order, from the end of the strips to their beginning. */
FS_ONCE void store_strips(const real *tile, int64_t length, int64_t strips, real *y, int64_t step,
                            int64_t packed)
{
    const int most = strips < V_LANES ? (int)strips : V_LANES;
    v_t a[V_LANES];
    for (int64_t at = (length - 1) / V_LANES * V_LANES; at >= 0; at -= V_LANES) {
        for (int i = 0; i < V_LANES; i++)
            a[i] = v_load(tile + (at + i) * V_LANES);
        v_transpose(a);
        if (packed && strips == V_LANES && (V_LANES - 1) * step + at + V_LANES <= packed) {
            for (int l = 0; l < V_LANES; l++)
                v_store(y + l * step + at, a[l]);
            continue;
        }
        FS_ROLLED
        for (int l = 0; l < most; l++) {
            const int64_t left = (packed ? packed - l * step : length) - at;
            if (left >= V_LANES)
                v_store(y + l * step + at, a[l]);
            else
                v_store_part(y + l * step + at, a[l], left);
        }
    }
}

/* Rows side by side in memory: vectors as they are. */
FS_INLINE void load_columns(const fs_rows *rows, const tile_map *map, const real *x,
                            int64_t class_step, real *tile)
{
    const int64_t n = rows->n, part = rows->rows % V_LANES, whole = rows->rows / V_LANES;
    for (int64_t j = 0; j < n; j++, x += class_step) {
        for (int64_t g = 0; g < whole; g++) {
            v_store(tile + (g * n + j) * V_LANES, v_load(x + g * V_LANES));
            /* of the next tile: each class is a run of its own, too short for the hardware to
             * foresee */
            FS_PREFETCH((uintptr_t)(x + g * V_LANES) + (uintptr_t)whole * sizeof(v_t));
        }
        if (whole < map->groups)
            v_store(tile + (whole * n + j) * V_LANES,
                    v_load_part(x + whole * V_LANES, part, v_set1(0)));
    }
}

FS_INLINE void store_columns_to(const fs_rows *rows, const tile_map *map, int stream)
{
    const int64_t n = rows->n, part = rows->rows % V_LANES, whole = rows->rows / V_LANES;
    const real *tile = (const real *)rows->tile;
    real *y = (real *)rows->y;
    for (int64_t j = 0; j < n; j++, y += rows->y_class) {
        for (int64_t g = 0; g < whole; g++)
            put(y + g * V_LANES, v_load(tile + (g * n + j) * V_LANES), stream);
        if (whole < map->groups)
            v_store_part(y + whole * V_LANES, v_load(tile + (whole * n + j) * V_LANES), part);
    }
}

/* Past the caches where every class is aligned to a vector, for which the driver cuts its tiles. */
FS_INLINE void store_columns(const fs_rows *rows, const tile_map *map)
{
    const uintptr_t step = (uintptr_t)rows->y_class * sizeof(real);
    if (rows->stream && ((uintptr_t)rows->y | step) % sizeof(v_t) == 0) {
        store_columns_to(rows, map, 1);
        v_stream_end();
    } else {
        store_columns_to(rows, map, 0);
    }
}

/* Any other strides, element by element. */
FS_INLINE void load_scattered(const fs_rows *rows, const real *x, int64_t step, int64_t class_step,
                              real *tile)
{
    const int64_t lanes = (rows->rows + V_LANES - 1) / V_LANES * V_LANES;
    fill(tile, lanes * rows->n, 0);
    for (int64_t j = 0; j < rows->n; j++)
        for (int64_t i = 0; i < rows->rows; i++)
            tile[(i / V_LANES * rows->n + j) * V_LANES + i % V_LANES] =
                x[i * step + j * class_step];
}

FS_INLINE void store_scattered(const fs_rows *rows)
{
    const real *tile = (const real *)rows->tile;
    real *y = (real *)rows->y;
    for (int64_t j = 0; j < rows->n; j++)
        for (int64_t i = 0; i < rows->rows; i++)
            y[i * rows->y_step + j * rows->y_class] =
                tile[(i / V_LANES * rows->n + j) * V_LANES + i % V_LANES];
}

/* The rows of one array, as the map has them. */
FS_ONCE void load_lanes(const fs_rows *rows, const tile_map *map, const real *x, int64_t x_step,
                          int64_t x_class, real *tile)
{
    const int64_t length = rows->n * map->fold, step = x_step * map->fold;
    int64_t left = rows->rows / map->fold; /* strips */
    if (x_class == 1 && rows->n > 1) {
        const int packed = lies_packed(rows->n, x_step, x_class);
        for (; left > 0; left -= V_LANES, x += V_LANES * step, tile += V_LANES * length)
            load_strips(x, step, length, left < V_LANES ? left : V_LANES, packed ? left * step : 0,
                        tile);
    } else if (x_step == 1) {
        load_columns(rows, map, x, x_class, tile);
    } else {
        load_scattered(rows, x, x_step, x_class, tile);
    }
}

FS_INLINE tile_map load_tile(const fs_rows *rows)
{
    const tile_map map = map_tile(rows);
    load_lanes(rows, &map, (const real *)rows->x, rows->x_step, rows->x_class,
               (real *)rows->tile);
    return map;
}

FS_ONCE void store_tile(const fs_rows *rows, const tile_map *map)
{
    const int64_t length = rows->n * map->fold, step = rows->y_step * map->fold;
    const real *tile = (const real *)rows->tile;
    real *y = (real *)rows->y;
    int64_t left = rows->rows / map->fold;
    if (rows->y_class == 1 && rows->n > 1) {
        const int packed = lies_packed(rows->n, rows->y_step, rows->y_class);
        for (; left > 0; left -= V_LANES, y += V_LANES * step, tile += V_LANES * length)
            store_strips(tile, length, left < V_LANES ? left : V_LANES, y, step,
                         packed ? left * step : 0);
    } else if (rows->y_step == 1) {
        store_columns(rows, map);
    } else {
        store_scattered(rows);
    }
}
